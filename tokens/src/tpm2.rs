//! Keys that a TPM 2.0 gives back only if the machine was started as before: tokens of the type `systemd-tpm2`
//! (systemd-cryptenroll(1); src/shared/tpm2-util.c of systemd 257 for the fields).
//!
//! The conditions are values of PCRs and a PIN. Signed policies (`tpm2_pubkey`), those of systemd-pcrlock and keys that
//! were sealed without the TPM (`--tpm2-device-key`) are named and left alone.

mod session;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::crypto::{Point, sha256};
use crate::{Passphrase, Random, base64, fields};
use session::{ALG_AES, ALG_CFB, ALG_NULL, ALG_SHA256, Session, Start};
use wire::{Auth, Code, Reader, Writer, answer, command};

/// Type of the token.
pub const KIND: &str = "systemd-tpm2";

/// Why a TPM gives no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tpm2Error {
    /// The token cannot be understood.
    BadToken(&'static str),
    /// It asks for something that is not done here.
    Unsupported(&'static str),
    /// The PIN is wrong.
    WrongPin,
    /// Too many wrong PINs: the TPM refuses for a while.
    LockedOut,
    /// These PCRs have other values than when the key was enrolled.
    OtherState(Vec<u32>),
    /// The key belongs to another TPM, or to this one before it was cleared.
    OtherTpm,
    /// It does not prove that it is the one that is meant.
    Untrusted(&'static str),
    /// The answer to this command makes no sense.
    Garbled(&'static str),
    /// The command failed with this number (Part 2, section 6.6).
    Refused(&'static str, u32),
    /// It could not be talked to.
    Unreachable(String),
}

impl fmt::Display for Tpm2Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tpm2Error::BadToken(what) => write!(f, "the token is damaged: {what}"),
            Tpm2Error::Unsupported(what) => {
                write!(
                    f,
                    "{what} is not supported here; enrol it with PCRs or a PIN alone (systemd-cryptenroll)"
                )
            }
            Tpm2Error::WrongPin => f.write_str("the PIN is wrong"),
            Tpm2Error::LockedOut => f.write_str(
                "the TPM refuses for a while after too many wrong PINs (see tpm2_dictionarylockout)",
            ),
            Tpm2Error::OtherState(pcrs) if pcrs.is_empty() => f.write_str("its policy is not met"),
            Tpm2Error::OtherState(pcrs) => {
                let list: Vec<String> = pcrs.iter().map(u32::to_string).collect();
                write!(
                    f,
                    "the machine was not started as it was when the key was enrolled (one of the PCRs {} differs); \
                     enrol it again if that was meant",
                    list.join(", ")
                )
            }
            Tpm2Error::OtherTpm => {
                f.write_str("the key is another TPM's, or the TPM was cleared; enrol it again")
            }
            Tpm2Error::Untrusted(what) => write!(f, "the TPM is not to be trusted: {what}"),
            Tpm2Error::Garbled(command) => write!(f, "the TPM's answer to {command} makes no sense"),
            Tpm2Error::Refused(command, code) => write!(f, "{command} failed with {code:#05x}"),
            Tpm2Error::Unreachable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Tpm2Error {}

type Result<T> = std::result::Result<T, Tpm2Error>;

/// Sends a command to the TPM and brings its answer.
pub type Transmit<'a> = dyn FnMut(&[u8]) -> std::result::Result<Vec<u8>, String> + 'a;

/// Algorithm of the storage key under which the key was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Primary {
    Ecc,
    Rsa,
}

/// What the token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tpm2Token {
    /// The sealed key.
    private: Vec<u8>,
    public: Vec<u8>,
    /// Registers whose values are part of the policy, ascending.
    pcrs: Vec<u32>,
    /// `TPM_ALG_ID` of the registers' hash.
    bank: u16,
    policy: Vec<u8>,
    pin: bool,
    /// With which the PIN is stretched, since systemd 253.
    salt: Option<Vec<u8>>,
    /// The storage root key's handle and name, since systemd 254; before, the key was made anew each time.
    root: Option<(u32, Vec<u8>)>,
    /// `None`: the token does not say, as those that name the root key since systemd 255; it is ECC then, if it is made anew.
    primary: Option<Primary>,
}

impl Tpm2Token {
    /// Reads the token's JSON object.
    ///
    /// # Errors
    /// [`Tpm2Error::BadToken`], [`Tpm2Error::Unsupported`]
    pub fn read(token: &Value) -> Result<Self> {
        let bad = Tpm2Error::BadToken;
        let blobs = token.get("tpm2-blob").and_then(Value::as_array).map_or(1, Vec::len);
        if token.get("tpm2_pubkey_pcrs").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
            || blobs > 1
        {
            return Err(Tpm2Error::Unsupported("a policy that is signed"));
        }
        if fields::flag(token, "tpm2_pcrlock") == Some(true) {
            return Err(Tpm2Error::Unsupported("a policy of systemd-pcrlock"));
        }
        let blob = fields::bytes(token, "tpm2-blob").ok_or(bad("tpm2-blob"))?;
        let mut blob = Reader(&blob);
        let (Some(private), Some(public)) = (blob.sized(), blob.sized()) else {
            return Err(bad("tpm2-blob"));
        };
        if !blob.0.is_empty() {
            return Err(Tpm2Error::Unsupported("a key that was sealed without the TPM"));
        }
        let pcrs = token.get("tpm2-pcrs").and_then(Value::as_array).ok_or(bad("tpm2-pcrs"))?;
        let pcr =
            |value: &Value| value.as_u64().and_then(|pcr| u32::try_from(pcr).ok()).filter(|pcr| *pcr < 24);
        let mut pcrs = pcrs.iter().map(pcr).collect::<Option<Vec<u32>>>().ok_or(bad("tpm2-pcrs"))?;
        pcrs.sort_unstable();
        pcrs.dedup();
        let bank = match fields::text(token, "tpm2-pcr-bank") {
            None | Some("sha256") => ALG_SHA256,
            Some("sha1") => 0x0004,
            Some("sha384") => 0x000c,
            Some("sha512") => 0x000d,
            Some(_) => return Err(bad("tpm2-pcr-bank")),
        };
        let primary = match fields::text(token, "tpm2-primary-alg") {
            None => None,
            Some("ecc") => Some(Primary::Ecc),
            Some("rsa") => Some(Primary::Rsa),
            Some(_) => return Err(bad("tpm2-primary-alg")),
        };
        let root = match token.get("tpm2_srk") {
            None => None,
            Some(_) => {
                Some(fields::bytes(token, "tpm2_srk").as_deref().and_then(root).ok_or(bad("tpm2_srk"))?)
            }
        };
        let salt = match token.get("tpm2_salt") {
            None => None,
            Some(_) => Some(fields::bytes(token, "tpm2_salt").ok_or(bad("tpm2_salt"))?),
        };
        Ok(Self {
            private: private.to_vec(),
            public: public.to_vec(),
            pcrs,
            bank,
            policy: fields::hex(token, "tpm2-policy-hash").ok_or(bad("tpm2-policy-hash"))?,
            pin: fields::flag(token, "tpm2-pin").unwrap_or(false),
            salt: salt.filter(|salt| !salt.is_empty()),
            root,
            primary,
        })
    }

    /// Whether a PIN has to be asked for.
    #[must_use]
    pub fn wants_pin(&self) -> bool {
        self.pin
    }

    /// Whether the key crosses the bus in the open: only with a storage key of RSA.
    #[must_use]
    pub fn is_unencrypted(&self) -> bool {
        self.primary == Some(Primary::Rsa)
    }

    /// The PIN as the password of the sealed key (`tpm2_auth_value_from_pin`).
    fn auth(&self, pin: &[u8]) -> Zeroizing<Vec<u8>> {
        let digest = match &self.salt {
            None => sha256(&[pin]),
            Some(salt) => {
                let mut stretched = Zeroizing::new([0_u8; 32]);
                // A key of any length will do for an HMAC.
                let _ = pbkdf2::pbkdf2::<hmac::Hmac<sha2::Sha256>>(pin, salt, STRETCHING, &mut stretched[..]);
                sha256(&[Zeroizing::new(base64::encode(&stretched[..])).as_bytes()])
            }
        };
        let mut auth = Zeroizing::new(digest.to_vec());
        // Zeros at the end do not count (Part 1, section 19.6.5, note 2).
        let length = auth.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
        auth.truncate(length);
        auth
    }

    /// Gets the key out of the TPM. Nothing is changed in it, but that it counts wrong PINs.
    ///
    /// # Errors
    /// See [`Tpm2Error`]; [`Tpm2Error::WrongPin`] also if a PIN is wanted and none is given.
    pub fn unseal(
        &self,
        pin: Option<&[u8]>,
        random: &mut Random<'_>,
        transmit: &mut Transmit<'_>,
    ) -> Result<Passphrase> {
        let auth = match (self.pin, pin) {
            (false, _) => None,
            (true, Some(pin)) => Some(self.auth(pin)),
            (true, None) => return Err(Tpm2Error::WrongPin),
        };
        let mut tpm = Tpm { transmit, loaded: Vec::new() };
        let result = tpm.unseal(self, auth.as_deref().map(Vec::as_slice), random);
        tpm.flush();
        Ok(crate::passphrase(&result?))
    }
}

/// Iterations of PBKDF2 for a PIN (`PBKDF2_HMAC_SHA256_ITERATIONS`).
const STRETCHING: u32 = 10_000;

/// The storage root key: how tpm2-tss serialises a persistent object is handle, name, and what does not matter here
/// (`IESYS_RESOURCE`, src/tss2-esys/esys_types.h).
fn root(serialised: &[u8]) -> Option<(u32, Vec<u8>)> {
    let mut reader = Reader(serialised);
    let handle = reader.u32()?;
    let name = reader.sized()?.to_vec();
    // TPM_HT_PERSISTENT, and SHA-256 with its number in front.
    (handle >> 24 == 0x81 && name.len() == 34).then_some((handle, name))
}

/// `TPM_RH_OWNER`
const OWNER: u32 = 0x4000_0001;
/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, decrypt (`TPMA_OBJECT`)
const STORAGE_KEY: u32 = 0x0003_0072;
const ALG_RSA: u16 = 0x0001;
const ALG_ECC: u16 = 0x0023;
const NIST_P256: u16 = 0x0003;

/// `TPM_RC_RETRY`, `TPM_RC_PCR_CHANGED`; `TPM_RC_LOCKOUT`, which a key with a PIN is not even loaded under.
const RETRY: u32 = 0x922;
const PCR_CHANGED: u32 = 0x128;
const LOCKOUT: u32 = 0x921;
/// Format-one codes without the number of what they are about: `TPM_RC_AUTH_FAIL`, `TPM_RC_BAD_AUTH`,
/// `TPM_RC_POLICY_FAIL`, `TPM_RC_INTEGRITY`, `TPM_RC_HANDLE`.
const AUTH_FAIL: u32 = 0x8e;
const BAD_AUTH: u32 = 0xa2;
const POLICY_FAIL: u32 = 0x9d;
const INTEGRITY: u32 = 0x9f;
const HANDLE: u32 = 0x8b;

/// How often a command is sent to a busy TPM, and all begun anew because a PCR was extended meanwhile.
const RETRIES: usize = 16;

struct Tpm<'a, 'b> {
    transmit: &'a mut Transmit<'b>,
    /// What has to be flushed.
    loaded: Vec<u32>,
}

impl Tpm<'_, '_> {
    fn send(
        &mut self,
        code: Code,
        handles: &[u32],
        auth: &Auth<'_>,
        parameters: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        let sent = command(code, handles, auth, parameters);
        let mut seen = Zeroizing::new(Vec::new());
        for _ in 0..RETRIES {
            seen = (self.transmit)(&sent).map(Zeroizing::new).map_err(Tpm2Error::Unreachable)?;
            // The kernel asks again by itself where a TPM is busy; others may sit between.
            if !matches!(answer(code, &seen), Err(Tpm2Error::Refused(_, RETRY))) {
                break;
            }
        }
        Ok(seen)
    }

    fn flush(&mut self) {
        for handle in std::mem::take(&mut self.loaded).into_iter().rev() {
            // A session that has served is gone already.
            let _ = self.send(Code::FlushContext, &[], &Auth::None, &handle.to_be_bytes());
        }
    }

    fn unseal(
        &mut self,
        token: &Tpm2Token,
        auth: Option<&[u8]>,
        random: &mut Random<'_>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let (primary, point) = match &token.root {
            Some((handle, name)) => (*handle, self.read_root(*handle, name)?),
            None => self.create_primary(token.primary.unwrap_or(Primary::Ecc))?,
        };
        // A root key of RSA that the token names, without a word about it, is one that the machine came with.
        let may_be_rsa = token.is_unencrypted() || (token.primary.is_none() && token.root.is_some());
        if point.is_none() && !may_be_rsa {
            return Err(Tpm2Error::Untrusted("its storage key is not the one of ECC that the token names"));
        }
        let (object, name) = self.load(primary, token)?;
        for _ in 0..RETRIES {
            let session = match self.fulfil(primary, point.as_ref(), token, auth, random) {
                Err(Tpm2Error::Refused(_, PCR_CHANGED)) => continue,
                other => other?,
            };
            let sent = session.authorize(Code::Unseal, &name, random);
            let bytes = self.send(Code::Unseal, &[object], &Auth::Session(&sent.area), &[])?;
            match answer(Code::Unseal, &bytes) {
                Ok(answer) => return session.open(Code::Unseal, &sent, &answer),
                Err(Tpm2Error::Refused(_, PCR_CHANGED)) => {}
                Err(Tpm2Error::Refused(_, code)) if is(code, AUTH_FAIL) || is(code, BAD_AUTH) => {
                    return Err(Tpm2Error::WrongPin);
                }
                Err(Tpm2Error::Refused(_, code)) if is(code, POLICY_FAIL) => {
                    return Err(Tpm2Error::OtherState(token.pcrs.clone()));
                }
                Err(error) => return Err(error),
            }
        }
        Err(Tpm2Error::OtherState(token.pcrs.clone()))
    }

    /// The storage root key's point, once it is the one that the token names.
    fn read_root(&mut self, handle: u32, name: &[u8]) -> Result<Option<Point>> {
        let code = Code::ReadPublic;
        let bytes = self.send(code, &[handle], &Auth::None, &[])?;
        let mut seen = match answer(code, &bytes) {
            Err(Tpm2Error::Refused(_, number)) if is(number, HANDLE) => return Err(Tpm2Error::OtherTpm),
            other => other?.parameters,
        };
        let public = seen.sized().ok_or(Tpm2Error::Garbled(code.name()))?;
        let mut named = ALG_SHA256.to_be_bytes().to_vec();
        named.extend(sha256(&[public]));
        if named != name {
            return Err(Tpm2Error::OtherTpm);
        }
        point(public)
    }

    /// The key that systemd made before there were storage root keys (`tpm2_get_legacy_template`).
    fn create_primary(&mut self, primary: Primary) -> Result<(u32, Option<Point>)> {
        let algorithm = match primary {
            Primary::Ecc => ALG_ECC,
            Primary::Rsa => ALG_RSA,
        };
        let public = Writer::default().u16(algorithm).u16(ALG_SHA256).u32(STORAGE_KEY).sized(&[]);
        let public = public.u16(ALG_AES).u16(128).u16(ALG_CFB).u16(ALG_NULL);
        let public = match primary {
            // Curve, no scheme, an empty point.
            Primary::Ecc => public.u16(NIST_P256).u16(ALG_NULL).sized(&[]).sized(&[]),
            // Bits, the usual exponent, an empty modulus.
            Primary::Rsa => public.u16(2048).u32(0).sized(&[]),
        };
        // No password and no data of its own, nothing from outside, no PCRs.
        let sensitive = Writer::default().sized(&[]).sized(&[]).0;
        let parameters = Writer::default().sized(&sensitive).sized(&public.0).sized(&[]).u32(0).0;
        let code = Code::CreatePrimary;
        let bytes = self.send(code, &[OWNER], &Auth::Empty, &parameters)?;
        let mut seen = answer(code, &bytes)?;
        self.loaded.push(seen.handle);
        let public = seen.parameters.sized().ok_or(Tpm2Error::Garbled(code.name()))?;
        Ok((seen.handle, point(public)?))
    }

    /// The sealed key's handle and name.
    fn load(&mut self, primary: u32, token: &Tpm2Token) -> Result<(u32, Vec<u8>)> {
        let code = Code::Load;
        let parameters = Writer::default().sized(&token.private).sized(&token.public).0;
        let bytes = self.send(code, &[primary], &Auth::Empty, &parameters)?;
        let mut seen = match answer(code, &bytes) {
            Err(Tpm2Error::Refused(_, number)) if is(number, INTEGRITY) => return Err(Tpm2Error::OtherTpm),
            other => other?,
        };
        self.loaded.push(seen.handle);
        let name = seen.parameters.sized().ok_or(Tpm2Error::Garbled(code.name()))?;
        Ok((seen.handle, name.to_vec()))
    }

    /// A session that fulfils the policy.
    fn fulfil(
        &mut self,
        primary: u32,
        point: Option<&Point>,
        token: &Tpm2Token,
        auth: Option<&[u8]>,
        random: &mut Random<'_>,
    ) -> Result<Session> {
        let start = Start::new(primary, point, random)?;
        let code = Code::StartAuthSession;
        let bytes = self.send(code, start.handles(), &Auth::None, start.parameters())?;
        let mut session = start.finish(&mut answer(code, &bytes)?)?;
        self.loaded.push(session.handle);
        if !token.pcrs.is_empty() {
            let mut map = [0_u8; 3];
            for pcr in &token.pcrs {
                if let Some(byte) = map.get_mut((pcr / 8) as usize) {
                    *byte |= 1 << (pcr % 8);
                }
            }
            // Their values are the TPM's to know: an empty digest takes the present ones.
            let parameters = Writer::default().sized(&[]).u32(1).u16(token.bank).u8(3).bytes(&map).0;
            let bytes = self.send(Code::PolicyPcr, &[session.handle], &Auth::None, &parameters)?;
            answer(Code::PolicyPcr, &bytes)?;
        }
        if let Some(auth) = auth {
            let bytes = self.send(Code::PolicyAuthValue, &[session.handle], &Auth::None, &[])?;
            answer(Code::PolicyAuthValue, &bytes)?;
            session.wants_auth(auth);
        }
        let code = Code::PolicyGetDigest;
        let bytes = self.send(code, &[session.handle], &Auth::None, &[])?;
        let seen = answer(code, &bytes)?.parameters.sized().ok_or(Tpm2Error::Garbled(code.name()))?;
        if seen != token.policy {
            return Err(Tpm2Error::OtherState(token.pcrs.clone()));
        }
        Ok(session)
    }
}

/// Whether a response code is this one of format one, whatever parameter, handle or session it is about.
fn is(code: u32, number: u32) -> bool {
    code & 0x80 != 0 && code & 0xbf == number
}

/// The point of a public area (`TPMT_PUBLIC`) of a storage key; `None` if it has none, being RSA.
fn point(public: &[u8]) -> Result<Option<Point>> {
    if Reader(public).u16() != Some(ALG_ECC) {
        return Ok(None);
    }
    // Without a point nothing would be encrypted, and nobody be told.
    let point = point_on_p256(public).ok_or(Tpm2Error::Untrusted(
        "its storage key of ECC is not on the curve NIST P-256, so that the key would cross its bus in the open",
    ))?;
    Ok(Some(point))
}

fn point_on_p256(public: &[u8]) -> Option<Point> {
    let mut reader = Reader(public);
    let _algorithm = reader.u16()?;
    let _name_algorithm = reader.u16()?;
    let _attributes = reader.u32()?;
    let _policy = reader.sized()?;
    if reader.u16()? != ALG_NULL {
        let _bits_and_mode = reader.u32()?;
    }
    if reader.u16()? != ALG_NULL {
        // A storage key has no scheme.
        return None;
    }
    let curve = reader.u16()?;
    let _kdf = reader.u16()?;
    let point = Point { x: reader.sized()?.to_vec(), y: reader.sized()?.to_vec() };
    (curve == NIST_P256).then_some(point)
}
