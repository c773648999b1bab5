//! What holds, in the words of `sshd -T`.

use crate::config::Effective;
use crate::keywords::{HIDDEN, KEYWORDS, Keyword, OWN, Shape, chosen, startups_of};
use crate::settings;
use crate::support::given::{rekey, time, yes};

/// One line for each value.
pub(crate) fn lines(config: &Effective) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    let shown = |keyword: &&Keyword| {
        let hidden = OWN.contains(&keyword.name) || HIDDEN.contains(&keyword.name);
        !matches!(keyword.shape, Shape::Deprecated) && !hidden
    };
    for keyword in KEYWORDS.iter().filter(shown) {
        let name = keyword.name;
        for value in values(keyword, config)? {
            lines.push(format!("{name} {value}"));
        }
    }
    Ok(lines)
}

fn values(keyword: &Keyword, config: &Effective) -> Result<Vec<String>, String> {
    let values = config.values(keyword.name);
    Ok(match (keyword.name, keyword.shape) {
        ("listenaddress", _) => settings::addresses(config)?.iter().map(ToString::to_string).collect(),
        ("hostkey", _) => settings::host_keys(config).iter().map(|path| path.display().to_string()).collect(),
        ("subsystem", _) => values.into_iter().map(|words| words.join(" ")).collect(),
        ("rekeylimit", _) => {
            let (bytes, interval) = rekey(&values.concat())?;
            vec![format!("{} {}", bytes.unwrap_or(0), interval.map_or(0, |interval| interval.as_secs()))]
        }
        ("maxstartups", _) => {
            let (begin, percent, full) = startups_of(&config.word("maxstartups"))?;
            vec![format!("{begin}:{percent}:{full}")]
        }
        ("setenv", _) => values.concat(),
        (name, Shape::Algorithms) => {
            vec![settings::algorithms(config)?.list(name).unwrap_or_default().join(",")]
        }
        (_, Shape::List(_)) => vec![values.concat().join(" ")],
        (_, shape) => values.concat().iter().map(|word| shown(shape, word)).collect::<Result<_, _>>()?,
    })
}

fn shown(shape: Shape, word: &str) -> Result<String, String> {
    Ok(match shape {
        Shape::Flag => if yes(word)? { "yes" } else { "no" }.to_owned(),
        Shape::Choice(known) => chosen(word, known)?.to_owned(),
        Shape::Time { none: true } if word.eq_ignore_ascii_case("none") => "none".to_owned(),
        Shape::Time { .. } => time(word)?.to_string(),
        Shape::Octal => format!("0{}", word.trim_start_matches('0')),
        _ => word.to_owned(),
    })
}
