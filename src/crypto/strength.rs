//! How strong a passphrase is.

use zxcvbn::Score;

/// As much of a passphrase as is looked at; the estimate takes much longer for longer ones, which are strong anyway.
const LOOKED_AT: usize = 100;

/// What is weak about a passphrase, as a sentence; none if it is good enough to seal a keynode
/// (at least 3 of 4 by zxcvbn: more than 10^8 guesses).
pub fn weakness(passphrase: &str) -> Option<String> {
    if passphrase.is_empty() {
        return Some("The passphrase is empty.".to_owned());
    }
    let looked_at: String = passphrase.chars().take(LOOKED_AT).collect();
    let estimate = zxcvbn::zxcvbn(&looked_at, &["pkfs", "keynode"]);
    if estimate.score() >= Score::Three {
        return None;
    }
    let feedback = estimate.feedback();
    let warning = feedback.and_then(zxcvbn::feedback::Feedback::warning).map(|w| w.to_string());
    let suggestion = feedback.and_then(|f| f.suggestions().first()).map(ToString::to_string);
    let advice = warning.into_iter().chain(suggestion).collect::<Vec<_>>().join(" ");
    let advice = if advice.is_empty() { "Take four or more random words.".to_owned() } else { advice };
    Some(format!("The passphrase is easy to guess. {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_ones_are_told_and_strong_ones_pass() {
        for weak in ["", "a", "password", "pkfs", "hunter2", "12345678", "qwertyuiop"] {
            let sentence = weakness(weak).expect("weak");
            assert!(sentence.ends_with('.'), "{weak}: {sentence}");
        }
        for strong in ["correct zebra anvil staple 7", "wZ7#pqLm92!x", &format!("é7ß.w,Kq3 x{}", "y".repeat(100_000))]
        {
            assert_eq!(weakness(strong), None);
        }
    }
}
