//! Status codes of CTAP2 (CTAP 2.1 section 8.2).

/// Why a command failed; the first byte of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    InvalidCommand = 0x01,
    InvalidParameter = 0x02,
    InvalidLength = 0x03,
    CborUnexpectedType = 0x11,
    InvalidCbor = 0x12,
    MissingParameter = 0x14,
    CredentialExcluded = 0x19,
    UnsupportedAlgorithm = 0x26,
    UnsupportedOption = 0x2B,
    InvalidOption = 0x2C,
    KeepaliveCancel = 0x2D,
    NoCredentials = 0x2E,
    UserActionTimeout = 0x2F,
    NotAllowed = 0x30,
    PinInvalid = 0x31,
    PinBlocked = 0x32,
    PinAuthInvalid = 0x33,
    PinAuthBlocked = 0x34,
    PinNotSet = 0x35,
    /// CTAP2_ERR_PUAT_REQUIRED, called CTAP2_ERR_PIN_REQUIRED in CTAP 2.0.
    PuatRequired = 0x36,
    InvalidSubcommand = 0x3E,
    Other = 0x7F,
}

/// The first byte of the answer to a command that did not fail.
pub(crate) const OK: u8 = 0x00;
