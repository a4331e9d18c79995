//! Which kernel modules a dm-crypt cipher needs.
//!
//! The kernel asks user space for missing algorithms through `/sbin/modprobe` (`request_module("crypto-%s")` in
//! `crypto/api.c`). An initramfs without that program never answers, so everything is named here and loaded before the
//! container is opened.

/// The modules and aliases that opening a container with this cipher needs, dependencies of the order first.
///
/// `spec` is dm-crypt's cipher specification as in a LUKS2 segment (`aes-xts-plain64`, `serpent-cbc-essiv:sha256`,
/// `capi:xts(aes)-plain64`); LUKS1 stores it as two fields that are joined with `-`.
///
/// Plain names (`dm-crypt`, `af_alg`, `algif_skcipher`) are modules. `crypto-*` are aliases of which some are normally
/// absent: an algorithm may be built in, and combined names such as `crypto-xts(aes)` exist only where a driver
/// implements the combination as a whole. An alias that nothing matches is therefore not an error.
#[must_use]
pub fn modules_for(spec: &str) -> Vec<String> {
    let mut names = Names(vec!["dm-crypt".to_owned()]);
    for algorithm in &algorithms(spec) {
        names.crypto(algorithm);
    }
    // libcryptsetup decrypts the keyslot area of LUKS2 through the kernel's socket interface.
    names.add("af_alg");
    names.add("algif_skcipher");
    names.0
}

/// What dm-crypt needs for a container whose data are protected by this integrity algorithm too (a LUKS2 segment's
/// `integrity`: `hmac(sha256)`, `cmac(aes)`, `poly1305`, `aead`), beyond its cipher: dm-integrity below it, and the template
/// that joins a cipher and a hash (`crypt_ctr_auth_cipher` of `drivers/md/dm-crypt.c`).
#[must_use]
pub fn for_integrity(integrity: &str) -> Vec<String> {
    let mut names = Names(vec!["dm-integrity".to_owned()]);
    for word in integrity.split(['(', ')', ',', ' ']).filter(|word| !word.is_empty() && *word != "aead").rev()
    {
        names.crypto(word);
    }
    names.crypto(if integrity == "poly1305" { "rfc7539" } else { "authenc" });
    names.0
}

/// What a container may need whose header nobody has looked at: every cipher that cryptsetup is used with.
#[must_use]
pub fn for_unknown() -> Vec<String> {
    let mut names = for_tcrypt();
    for spec in ["aes-cbc-essiv:sha256", "capi:adiantum(xchacha12,aes)-plain64"] {
        for name in modules_for(spec) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// What a BitLocker volume needs beyond its own cipher: libcryptsetup unwraps its keys with AES-CCM through the kernel's
/// socket interface.
#[must_use]
pub fn for_bitlocker(cipher: Option<&str>) -> Vec<String> {
    let ciphers = match cipher {
        Some(cipher) => vec![cipher],
        None => vec!["aes-xts-plain64", "aes-cbc-eboiv", "aes-cbc-elephant"],
    };
    let mut names = Names(Vec::new());
    ciphers.into_iter().flat_map(modules_for).for_each(|name| names.add(&name));
    for algorithm in ["ctr", "cbcmac", "ccm"] {
        names.crypto(algorithm);
    }
    names.add("algif_aead");
    // Where the volume's own header and metadata lie, what is mapped reads as zeros.
    names.add("dm-zero");
    names.0
}

/// What a TrueCrypt or VeraCrypt volume needs: nothing but the passphrase tells which ciphers in which mode it is.
#[must_use]
pub fn for_tcrypt() -> Vec<String> {
    let mut names = Names(modules_for("aes-xts-plain64"));
    for algorithm in ["serpent", "twofish", "camellia", "cbc", "lrw", "xts(serpent)", "xts(twofish)"] {
        names.crypto(algorithm);
    }
    names.0
}

struct Names(Vec<String>);

impl Names {
    fn add(&mut self, name: &str) {
        if !self.0.iter().any(|known| known == name) {
            self.0.push(name.to_owned());
        }
    }

    fn crypto(&mut self, algorithm: &str) {
        self.add(&format!("crypto-{algorithm}"));
    }
}

/// Names of the kernel's crypto API, ciphers before the templates that use them.
///
/// Splits a specification the way `crypt_ctr_cipher_new` and `crypt_ctr_cipher_old` of `drivers/md/dm-crypt.c` do.
fn algorithms(spec: &str) -> Vec<String> {
    let mut algorithms: Vec<String> = Vec::new();
    let (whole, iv) = if let Some(capi) = spec.strip_prefix("capi:") {
        let (api, iv) = capi.rsplit_once('-').unwrap_or((capi, ""));
        // The last dash belongs to the name when it is inside the parentheses, as in `essiv(cbc(aes),sha-256)`.
        if iv.contains(')') { (capi.to_owned(), "") } else { (api.to_owned(), iv) }
    } else {
        let mut parts = spec.splitn(3, '-');
        let cipher = parts.next().unwrap_or_default();
        // `aes:64` asks for 64 keys of the multi-key compatibility mode; the algorithm is the same.
        let cipher = cipher.split(':').next().unwrap_or_default();
        let mode = parts.next().unwrap_or("cbc");
        let iv = parts.next().unwrap_or("plain");
        if cipher == "cipher_null" {
            ("ecb(cipher_null)".to_owned(), iv)
        } else if cipher.is_empty() {
            (String::new(), "")
        } else {
            (format!("{mode}({cipher})"), iv)
        }
    };
    for word in whole.split(['(', ')', ',', ' ']).filter(|word| !word.is_empty()).rev() {
        for needed in below(word) {
            push(&mut algorithms, needed);
        }
        push(&mut algorithms, word);
    }
    if whole.contains('(') {
        push(&mut algorithms, &whole);
    }
    let (iv_kind, iv_option) = iv.split_once(':').unwrap_or((iv, ""));
    match iv_kind {
        "essiv" => {
            push(&mut algorithms, if iv_option.is_empty() { "sha256" } else { iv_option });
            push(&mut algorithms, "essiv");
        }
        "lmk" => push(&mut algorithms, "md5"),
        "tcw" => push(&mut algorithms, "crc32"),
        "eboiv" | "elephant" => push(&mut algorithms, "ecb"),
        _ => {}
    }
    algorithms
}

/// What a template or cipher asks the crypto API for when an instance of it is made.
fn below(word: &str) -> &'static [&'static str] {
    match word {
        // crypto/xts.c makes ecb(CIPHER); crypto/lrw.c the same.
        "xts" | "lrw" => &["ecb"],
        // crypto/adiantum.c
        "adiantum" => &["nhpoly1305"],
        "xchacha12" | "xchacha20" => &["chacha20"],
        // crypto/gcm.c
        "gcm" => &["ctr", "ghash"],
        "ccm" => &["ctr", "cbcmac"],
        "rfc7539" => &["poly1305"],
        _ => &[],
    }
}

fn push(list: &mut Vec<String>, name: &str) {
    if !list.iter().any(|known| known == name) {
        list.push(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::modules_for;

    fn crypto(spec: &str) -> Vec<String> {
        modules_for(spec).iter().filter_map(|name| name.strip_prefix("crypto-")).map(str::to_owned).collect()
    }

    #[test]
    fn default_luks2() {
        assert_eq!(
            modules_for("aes-xts-plain64"),
            [
                "dm-crypt",
                "crypto-aes",
                "crypto-ecb",
                "crypto-xts",
                "crypto-xts(aes)",
                "af_alg",
                "algif_skcipher"
            ]
        );
    }

    #[test]
    fn specifications() {
        let table: &[(&str, &[&str])] = &[
            ("serpent-cbc-essiv:sha512", &["serpent", "cbc", "cbc(serpent)", "sha512", "essiv"]),
            ("aes-cbc-essiv", &["aes", "cbc", "cbc(aes)", "sha256", "essiv"]),
            ("aes", &["aes", "cbc", "cbc(aes)"]),
            ("aes:64-cbc-lmk", &["aes", "cbc", "cbc(aes)", "md5"]),
            ("capi:xts(aes)-plain64", &["aes", "ecb", "xts", "xts(aes)"]),
            ("capi:essiv(cbc(aes),sha256)", &["sha256", "aes", "cbc", "essiv", "essiv(cbc(aes),sha256)"]),
            (
                "capi:adiantum(xchacha12,aes)-plain64",
                &["aes", "chacha20", "xchacha12", "nhpoly1305", "adiantum", "adiantum(xchacha12,aes)"],
            ),
            ("cipher_null-ecb", &["cipher_null", "ecb", "ecb(cipher_null)"]),
            ("aes-gcm-random", &["aes", "ctr", "ghash", "gcm", "gcm(aes)"]),
            ("", &[]),
            ("-", &[]),
            ("capi:", &[]),
        ];
        for (spec, expected) in table {
            assert_eq!(crypto(spec), *expected, "{spec}");
        }
    }

    #[test]
    fn integrity() {
        for (kind, wanted) in [
            ("hmac(sha256)", &["dm-integrity", "crypto-sha256", "crypto-hmac", "crypto-authenc"][..]),
            ("poly1305", &["dm-integrity", "crypto-poly1305", "crypto-rfc7539"]),
            ("aead", &["dm-integrity", "crypto-authenc"]),
        ] {
            assert_eq!(super::for_integrity(kind), wanted);
        }
    }

    #[test]
    fn foreign_formats() {
        let has = |names: &[String], wanted: &[&str]| {
            wanted
                .iter()
                .find(|name| !names.iter().any(|known| known == *name))
                .map(|name| (*name).to_owned())
        };
        let known = super::for_bitlocker(Some("aes-xts-plain64"));
        assert_eq!(
            has(&known, &["dm-crypt", "crypto-xts(aes)", "algif_skcipher", "crypto-ccm", "algif_aead"]),
            None
        );
        assert!(has(&known, &["crypto-cbc(aes)"]).is_some(), "only its own cipher");
        assert_eq!(
            has(&super::for_bitlocker(None), &["crypto-cbc(aes)", "crypto-xts(aes)", "crypto-ecb"]),
            None
        );
        let any = super::for_tcrypt();
        assert_eq!(
            has(&any, &["dm-crypt", "crypto-serpent", "crypto-twofish", "crypto-lrw", "crypto-cbc"]),
            None
        );
        let mut once = any.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), any.len());
    }

    #[test]
    fn target_and_socket_are_always_there() {
        for spec in ["", "aes-xts-plain64", "capi:-", "((((", "a-b-c-d-e:f:g"] {
            let names = modules_for(spec);
            assert_eq!(names.first().map(String::as_str), Some("dm-crypt"), "{spec}");
            assert!(names.iter().any(|name| name == "algif_skcipher"), "{spec}");
        }
    }
}
