//! The few primitives that both kinds of token need.

use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use hmac::{Hmac, Mac};
use p256::elliptic_curve::sec1::{FromSec1Point, ToSec1Point};
use p256::{PublicKey, Sec1Point, SecretKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::Random;

const BLOCK: usize = 16;

/// SHA-256 of the parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// HMAC-SHA-256 (RFC 2104) of the parts, one after the other.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // A key of any length will do for an HMAC.
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// A point on NIST P-256, each coordinate of 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    pub x: Vec<u8>,
    pub y: Vec<u8>,
}

/// Agrees on a secret with the owner of `other` (ECDH, the x-coordinate); with it comes the public key to be sent.
/// `None` if `other` is not on the curve.
pub fn agree(other: &Point, random: &mut Random<'_>) -> Option<(Point, Zeroizing<[u8; 32]>)> {
    let mut encoded = vec![4_u8];
    encoded.extend([&other.x, &other.y].into_iter().flat_map(|one| padded(one)));
    let other = PublicKey::from_sec1_point(&Sec1Point::from_bytes(&encoded).ok()?).into_option()?;
    // All but one in 2^32 numbers of 32 bytes are keys.
    let own = (0..8).find_map(|_| {
        let mut scalar = Zeroizing::new([0_u8; 32]);
        random(&mut scalar[..]);
        SecretKey::from_slice(&scalar[..]).ok()
    })?;
    let shared = p256::ecdh::diffie_hellman(own.to_nonzero_scalar(), other.as_affine());
    let mut secret = Zeroizing::new([0_u8; 32]);
    secret.copy_from_slice(shared.raw_secret_bytes());
    let point = own.public_key().to_sec1_point(false);
    let point = Point { x: point.x()?.to_vec(), y: point.y()?.to_vec() };
    Some((point, secret))
}

/// A coordinate with the zeros in front that some leave out.
pub fn padded(coordinate: &[u8]) -> [u8; 32] {
    let mut full = [0_u8; 32];
    for (place, byte) in full.iter_mut().rev().zip(coordinate.iter().rev()) {
        *place = *byte;
    }
    full
}

/// Decrypts with AES-128 in CFB mode.
pub fn cfb_decrypt(key: &[u8; 16], iv: &[u8; 16], data: &mut [u8]) {
    let cipher = Aes128::new(key.into());
    let mut register = *iv;
    for chunk in data.chunks_mut(BLOCK) {
        let mut stream = register.into();
        cipher.encrypt_block(&mut stream);
        for ((byte, held), mask) in chunk.iter_mut().zip(&mut register).zip(stream.iter()) {
            *held = *byte;
            *byte ^= mask;
        }
    }
}

/// Encrypts whole blocks with AES-256 in CBC mode; what is left over stays as it is.
pub fn cbc_encrypt(key: &[u8; 32], iv: &[u8; 16], data: &mut [u8]) {
    let cipher = Aes256::new(key.into());
    let mut last = *iv;
    for block in blocks(data) {
        for (byte, mask) in block.iter_mut().zip(&last) {
            *byte ^= mask;
        }
        encrypt(&cipher, block);
        last = *block;
    }
}

/// Decrypts whole blocks with AES-256 in CBC mode; what is left over stays as it is.
pub fn cbc_decrypt(key: &[u8; 32], iv: &[u8; 16], data: &mut [u8]) {
    let cipher = Aes256::new(key.into());
    let mut last = *iv;
    for block in blocks(data) {
        let sent = *block;
        let mut plain = sent.into();
        cipher.decrypt_block(&mut plain);
        for ((byte, plain), mask) in block.iter_mut().zip(plain.iter()).zip(&last) {
            *byte = plain ^ mask;
        }
        last = sent;
    }
}

fn blocks(data: &mut [u8]) -> &mut [[u8; BLOCK]] {
    data.as_chunks_mut::<BLOCK>().0
}

fn encrypt<C: BlockCipherEncrypt<BlockSize = U16>>(cipher: &C, block: &mut [u8; BLOCK]) {
    let mut out = (*block).into();
    cipher.encrypt_block(&mut out);
    block.copy_from_slice(&out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().filter_map(|letter| letter.to_digit(16)).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).expect("a byte")).collect()
    }

    /// NIST SP 800-38A: F.2.5 (CBC-AES256) and F.3.13 (CFB128-AES128), the first two blocks.
    #[test]
    fn modes() {
        let plain = bytes("6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51");
        let iv: [u8; 16] = bytes("000102030405060708090a0b0c0d0e0f").try_into().expect("a block");
        let key: [u8; 32] = bytes("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
            .try_into()
            .expect("a key");
        let sealed = bytes("f58c4c04d6e5f1ba779eabfb5f7bfbd6 9cfc4e967edb808d679f777bc6702c7d");
        let mut data = plain.clone();
        cbc_encrypt(&key, &iv, &mut data);
        assert_eq!(data, sealed);
        cbc_decrypt(&key, &iv, &mut data);
        assert_eq!(data, plain);
        let key: [u8; 16] = bytes("2b7e151628aed2a6abf7158809cf4f3c").try_into().expect("a key");
        let mut data = bytes("3b3fd92eb72dad20333449f8e83cfb4a c8a64537a0b3a93fcde3cdad9f1ce58b");
        cfb_decrypt(&key, &iv, &mut data);
        assert_eq!(data, plain);
    }

    /// RFC 4231, case 2; RFC 5903, section 8.1.
    #[test]
    fn hmac_and_agreement() {
        let seen = hmac_sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(seen.to_vec(), bytes("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
        let own = bytes("C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433");
        let other = Point {
            x: bytes("D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63"),
            y: bytes("56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB"),
        };
        let mut random = |buffer: &mut [u8]| buffer.copy_from_slice(&own);
        let (public, secret) = agree(&other, &mut random).expect("a point");
        assert_eq!(public.x, bytes("DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180"));
        assert_eq!(
            secret.to_vec(),
            bytes("D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE")
        );
        let nowhere = Point { x: vec![1; 32], y: vec![2; 32] };
        assert!(agree(&nowhere, &mut random).is_none());
        assert_eq!(padded(&[7])[30..], [0, 7]);
    }
}
