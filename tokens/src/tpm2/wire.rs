//! How commands and answers of a TPM are laid out (TPM 2.0 Library, Part 1, section 18; Part 2 for the numbers).

use super::{LOCKOUT, Result, Tpm2Error};

/// `TPM_ST_NO_SESSIONS`
const NO_SESSIONS: u16 = 0x8001;
/// `TPM_ST_SESSIONS`
const SESSIONS: u16 = 0x8002;
/// `TPM_RS_PW`: authorization by a password, which is empty wherever this program needs one.
const PASSWORD: u32 = 0x4000_0009;

/// Commands that are used (Part 2, section 6.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    CreatePrimary = 0x131,
    Load = 0x157,
    Unseal = 0x15e,
    FlushContext = 0x165,
    PolicyAuthValue = 0x16b,
    ReadPublic = 0x173,
    StartAuthSession = 0x176,
    PolicyPcr = 0x17f,
    PolicyGetDigest = 0x189,
}

impl Code {
    pub fn number(self) -> u32 {
        self as u32
    }

    pub fn name(self) -> &'static str {
        match self {
            Code::CreatePrimary => "TPM2_CreatePrimary",
            Code::Load => "TPM2_Load",
            Code::Unseal => "TPM2_Unseal",
            Code::FlushContext => "TPM2_FlushContext",
            Code::PolicyAuthValue => "TPM2_PolicyAuthValue",
            Code::ReadPublic => "TPM2_ReadPublic",
            Code::StartAuthSession => "TPM2_StartAuthSession",
            Code::PolicyPcr => "TPM2_PolicyPCR",
            Code::PolicyGetDigest => "TPM2_PolicyGetDigest",
        }
    }
}

/// Bytes in the making, big-endian.
#[derive(Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// With its length in front (`TPM2B_*`). Nothing that is sent comes near 64 KiB, which no TPM takes.
    pub fn sized(self, bytes: &[u8]) -> Self {
        self.u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX)).bytes(bytes)
    }
}

/// How a command is authorized.
pub enum Auth<'a> {
    /// Not at all.
    None,
    /// By an empty password.
    Empty,
    /// By the sessions' area given.
    Session(&'a [u8]),
}

/// A whole command.
pub fn command(code: Code, handles: &[u32], auth: &Auth<'_>, parameters: &[u8]) -> Vec<u8> {
    let area = match auth {
        Auth::None => Vec::new(),
        // Session, nonce, attributes, password.
        Auth::Empty => Writer::default().u32(PASSWORD).sized(&[]).u8(0).sized(&[]).0,
        Auth::Session(area) => area.to_vec(),
    };
    let tag = if area.is_empty() { NO_SESSIONS } else { SESSIONS };
    let mut body = handles.iter().fold(Writer::default(), |body, handle| body.u32(*handle));
    if !area.is_empty() {
        body = body.u32(length(&area)).bytes(&area);
    }
    let body = body.bytes(parameters).0;
    let size = length(&body).saturating_add(10);
    Writer::default().u16(tag).u32(size).u32(code.number()).bytes(&body).0
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Bytes that are read one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// What has its length in front (`TPM2B_*`).
    pub fn sized(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

/// A successful answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The first handle, where the command has one in its answer.
    pub handle: u32,
    pub parameters: Reader<'a>,
    /// The sessions' area; empty without sessions.
    pub sessions: Reader<'a>,
}

/// Splits the answer to a command.
pub fn answer(code: Code, bytes: &[u8]) -> Result<Answer<'_>> {
    let short = Tpm2Error::Garbled(code.name());
    let mut reader = Reader(bytes);
    let (Some(tag), Some(size), Some(result)) = (reader.u16(), reader.u32(), reader.u32()) else {
        return Err(short);
    };
    if result == LOCKOUT {
        return Err(Tpm2Error::LockedOut);
    }
    if result != 0 {
        return Err(Tpm2Error::Refused(code.name(), result));
    }
    if usize::try_from(size).ok() != Some(bytes.len()) {
        return Err(short);
    }
    let has_handle = matches!(code, Code::CreatePrimary | Code::Load | Code::StartAuthSession);
    let handle = if has_handle { reader.u32().ok_or(short.clone())? } else { 0 };
    if tag != SESSIONS {
        return Ok(Answer { handle, parameters: reader, sessions: Reader(&[]) });
    }
    let length = reader.u32().and_then(|length| usize::try_from(length).ok()).ok_or(short.clone())?;
    let parameters = Reader(reader.take(length).ok_or(short)?);
    Ok(Answer { handle, parameters, sessions: reader })
}
