use serde_json::json;

use super::*;

fn token() -> Value {
    json!({
        "type": "systemd-tpm2",
        "keyslots": ["1"],
        "tpm2-blob": "AAIBAgADBAUG",
        "tpm2-pcrs": [11, 7, 7],
        "tpm2-pcr-bank": "sha256",
        "tpm2-primary-alg": "ecc",
        "tpm2-policy-hash": "0aff",
        "tpm2-pin": true,
        "tpm2_salt": "AQID",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut token = token();
    if let Some(fields) = token.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
    token
}

#[test]
fn fields_of_the_token() {
    let read = Tpm2Token::read(&token()).expect("a token");
    assert_eq!((read.private.as_slice(), read.public.as_slice()), (&[1, 2][..], &[4, 5, 6][..]));
    assert_eq!(
        (read.pcrs.as_slice(), read.bank, read.policy.as_slice()),
        (&[7, 11][..], 0xb, &[0x0a, 0xff][..])
    );
    assert!(read.wants_pin() && read.root.is_none() && read.salt.as_deref() == Some(&[1, 2, 3]));
    // Newer versions write lists of one.
    let listed = with("tpm2-blob", json!(["AAIBAgADBAUG"]));
    assert_eq!(Tpm2Token::read(&listed).as_ref(), Ok(&read));
}

#[test]
fn what_cannot_be_used_is_named() {
    for (name, value, wanted) in [
        ("tpm2-blob", json!("AAIBAg=="), Tpm2Error::BadToken("tpm2-blob")),
        (
            "tpm2-blob",
            json!("AAIBAgADBAUGAAA="),
            Tpm2Error::Unsupported("a key that was sealed without the TPM"),
        ),
        (
            "tpm2-blob",
            json!(["AAIBAgADBAUG", "AAIBAgADBAUG"]),
            Tpm2Error::Unsupported("a policy that is signed"),
        ),
        ("tpm2_pubkey_pcrs", json!([11]), Tpm2Error::Unsupported("a policy that is signed")),
        ("tpm2_pcrlock", json!(true), Tpm2Error::Unsupported("a policy of systemd-pcrlock")),
        ("tpm2-pcrs", json!([24]), Tpm2Error::BadToken("tpm2-pcrs")),
        ("tpm2-pcr-bank", json!("md5"), Tpm2Error::BadToken("tpm2-pcr-bank")),
        ("tpm2-policy-hash", json!("0af"), Tpm2Error::BadToken("tpm2-policy-hash")),
        ("tpm2_srk", json!("gQAAAQ=="), Tpm2Error::BadToken("tpm2_srk")),
        ("tpm2_salt", json!(7), Tpm2Error::BadToken("tpm2_salt")),
    ] {
        assert_eq!(Tpm2Token::read(&with(name, value.clone())), Err(wanted), "{name}: {value}");
    }
    assert_eq!(Tpm2Token::read(&json!([])), Err(Tpm2Error::BadToken("tpm2-blob")));
}

#[test]
fn answers_that_make_no_sense() {
    let token = Tpm2Token::read(&with("tpm2-pin", json!(false))).expect("a token");
    let mut random = |buffer: &mut [u8]| buffer.fill(1);
    for bytes in [
        &[][..],
        &[0x80, 1, 0, 0, 0, 10, 0, 0, 0],
        &[0x80, 1, 0, 0, 0, 11, 0, 0, 0, 0],
        &[0x80, 2, 0, 0, 0, 10, 0, 0, 0, 0],
    ] {
        let mut transmit = |_: &[u8]| Ok(bytes.to_vec());
        let seen = token.unseal(None, &mut random, &mut transmit);
        assert_eq!(seen, Err(Tpm2Error::Garbled("TPM2_CreatePrimary")), "{bytes:?}");
    }
    let mut transmit = |_: &[u8]| Ok(vec![0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1]);
    let seen = token.unseal(None, &mut random, &mut transmit);
    assert_eq!(seen, Err(Tpm2Error::Refused("TPM2_CreatePrimary", 0x101)));
    let mut transmit = |_: &[u8]| Err("it is gone".to_owned());
    assert_eq!(
        token.unseal(None, &mut random, &mut transmit),
        Err(Tpm2Error::Unreachable("it is gone".to_owned()))
    );
}

#[test]
fn a_session_that_would_encrypt_nothing_is_refused() {
    let area = |curve: u16| {
        let public = Writer::default().u16(ALG_ECC).u16(ALG_SHA256).u32(STORAGE_KEY).sized(&[]);
        let public = public.u16(ALG_AES).u16(128).u16(ALG_CFB).u16(ALG_NULL);
        public.u16(curve).u16(ALG_NULL).sized(&[1; 32]).sized(&[2; 32]).0
    };
    assert!(matches!(point(&area(NIST_P256)), Ok(Some(point)) if point.x == [1; 32] && point.y == [2; 32]));
    // NIST P-384; a public area that is cut.
    for public in [area(4), area(NIST_P256)[..20].to_vec()] {
        assert!(matches!(point(&public), Err(Tpm2Error::Untrusted(_))), "{public:?}");
    }
    assert!(matches!(point(&ALG_RSA.to_be_bytes()), Ok(None)));
    // The TPM has a storage key of RSA where the token speaks of ECC.
    let public = Writer::default().u16(ALG_RSA).0;
    let name = [&ALG_SHA256.to_be_bytes()[..], &sha256(&[&public])].concat();
    let mut token = Tpm2Token::read(&with("tpm2-pin", json!(false))).expect("a token");
    token.root = Some((0x8100_0001, name));
    let mut random = |buffer: &mut [u8]| buffer.fill(1);
    let body = Writer::default().sized(&public).0;
    let length = u32::try_from(body.len() + 10).expect("a length");
    let told = Writer::default().u16(0x8001).u32(length).u32(0).bytes(&body).0;
    let mut transmit = |_: &[u8]| Ok(told.clone());
    // Unless it does not say of what kind its root key is.
    for (primary, refused) in [(Some(Primary::Ecc), true), (None, false), (Some(Primary::Rsa), false)] {
        token.primary = primary;
        let result = token.unseal(None, &mut random, &mut transmit);
        assert_eq!(matches!(result, Err(Tpm2Error::Untrusted(_))), refused, "{primary:?}: {result:?}");
    }
}

#[test]
fn response_codes() {
    // TPM_RC_AUTH_FAIL for the first session; TPM_RC_INTEGRITY for the first parameter; TPM_RC_LOCKOUT is of format zero.
    assert!(is(0x98e, AUTH_FAIL) && is(0x1df, INTEGRITY) && !is(LOCKOUT, AUTH_FAIL) && !is(0x98e, BAD_AUTH));
}
