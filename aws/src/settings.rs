//! Settings that are kept in Secrets Manager.
//!
//! A setting `PROXY_X` that has a sister `PROXY_X_ARN` can be given by either.
//! The command line is read twice: once to learn the ARNs, and once more with
//! what they lead to as defaults, so that a stored value goes through the same
//! check as a given one:
//!
//! ```text
//! #[arg(env = "PROXY_X", required = false, required_unless_present = "x_arn", …)]
//! x: SecretString,
//! #[arg(env = "PROXY_X_ARN", conflicts_with = "x", value_parser = aws::settings::arn)]
//! x_arn: Option<String>,
//!
//! let matches = command.clone().try_get_matches()?;
//! let command = aws::settings::fill(command, &matches, &aws, own).await?;
//! let settings = Settings::from_arg_matches(&command.try_get_matches()?)?;
//! ```
//!
//! Outside AWS a secret can be in a file instead, which `PROXY_X_FILE` names: a
//! container's environment is shown to whoever may inspect it, its files are not.

use std::{ffi::OsString, fs};

use clap::{
    Arg, ArgMatches, Command, Id,
    builder::{OsStr, Resettable},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use crate::Aws;

/// What the name of a variable that holds an ARN ends with.
const SUFFIX: &str = "_ARN";

/// What the name of a variable that holds the name of a file ends with.
const FILE_SUFFIX: &str = "_FILE";

/// A setting and its value.
pub type Found = (String, SecretString);

/// A stored secret that no setting can be made of.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct Unusable {
    pub variable: String,
    pub reason: String,
}

/// Why a secret's text is no setting. Never the text itself.
pub type Reason = String;

/// Asks for all secrets that the matches name, and makes them the defaults of
/// the settings that they are for.
///
/// `special` is asked first what a secret of a certain variable stands for; where
/// it has nothing to say, it is [`value`].
///
/// # Errors
/// When a secret cannot be had, or no setting can be made of it.
pub async fn fill(
    command: Command,
    matches: &ArgMatches,
    aws: &Aws,
    special: impl Fn(&str, &SecretString) -> Option<Result<Vec<Found>, Reason>>,
) -> Result<Command, Unusable> {
    let mut found = Vec::new();
    for (variable, arn) in named(&command, matches) {
        let unusable = |reason| Unusable {
            variable: variable.clone(),
            reason,
        };
        let secret = aws
            .secret(&arn)
            .await
            .map_err(|error| unusable(error.to_string()))?;
        let settings = special(&variable, &secret).unwrap_or_else(|| {
            let setting = variable.trim_end_matches(SUFFIX);
            Ok(vec![(setting.to_owned(), value(setting, &secret)?)])
        });
        found.extend(settings.map_err(unusable)?);
    }
    Ok(with_defaults(command, &found))
}

/// Makes the texts of the files that `PROXY_X_FILE` names the defaults of the
/// secrets `PROXY_X`; secrets are the settings whose values `--help` hides.
///
/// # Errors
/// When a file cannot be read, or the secret is given in another way, too.
pub fn read_files(
    command: Command,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Command, Unusable> {
    let mut found = Vec::new();
    for setting in secrets(&command) {
        let variable = format!("{setting}{FILE_SUFFIX}");
        let Some(file) = environment(&variable) else {
            continue;
        };
        let unusable = |reason| Unusable {
            variable: variable.clone(),
            reason,
        };
        let others = [setting.clone(), format!("{setting}{SUFFIX}")];
        if let Some(other) = others.iter().find(|name| environment(name).is_some()) {
            return Err(unusable(format!("cannot be set together with {other}")));
        }
        let text = fs::read_to_string(&file)
            .map_err(|error| unusable(format!("{}: {error}", file.display())))?;
        let text = text.trim_end_matches(['\r', '\n']);
        found.push((setting, SecretString::from(text)));
    }
    Ok(with_defaults(command, &found))
}

/// For clap: the ARN of a secret.
///
/// # Errors
/// When it is something else.
pub fn arn(text: &str) -> Result<String, Reason> {
    let mut parts = text.split(':');
    let is_arn = parts.next() == Some("arn") && parts.nth(1) == Some("secretsmanager");
    if !is_arn || parts.count() < 4 {
        return Err("must be the ARN of a secret: arn:aws:secretsmanager:…".to_owned());
    }
    Ok(text.to_owned())
}

/// The value of a setting: the secret's text, or, where that is a JSON object,
/// its only member or the one that is called like the setting without `PROXY_`.
///
/// # Errors
/// When the object has no such member.
pub fn value(setting: &str, secret: &SecretString) -> Result<SecretString, Reason> {
    let Some(object) = object(secret) else {
        // Who stores a file stores its last line end, too.
        let text = secret.expose_secret().trim_end_matches(['\r', '\n']);
        return Ok(SecretString::from(text));
    };
    let name = setting.trim_start_matches("PROXY_").to_ascii_lowercase();
    let only = object.values().next().filter(|_| object.len() == 1);
    match object.get(&name).or(only) {
        Some(Value::String(text)) => Ok(SecretString::from(text.as_str())),
        _ => Err(format!(
            "the secret is a JSON object without a text {name:?}"
        )),
    }
}

/// A database's address from a secret as RDS writes it (`username`, `password`,
/// `host`, perhaps `port` and `dbname`). None when the secret is something else.
pub fn database_url(secret: &SecretString) -> Option<Result<SecretString, Reason>> {
    let object = object(secret)?;
    let host = text(&object, "host")?;
    Some(postgres_url(host, &object).ok_or_else(|| {
        "the secret has a host, but no username and password to make an address of".to_owned()
    }))
}

fn postgres_url(host: &str, object: &Map<String, Value>) -> Option<SecretString> {
    let mut url = Url::parse("postgres://localhost/postgres").ok()?;
    url.set_host(Some(host)).ok()?;
    url.set_username(text(object, "username")?).ok()?;
    url.set_password(Some(text(object, "password")?)).ok()?;
    // RDS writes it as a number, people as a text.
    let port = match object.get("port") {
        None | Some(Value::Null) => None,
        Some(Value::String(port)) => Some(port.parse().ok()?),
        Some(port) => Some(port.as_u64()?.try_into().ok()?),
    };
    url.set_port(port).ok()?;
    if let Some(database) = text(object, "dbname") {
        url.set_path(database);
    }
    Some(SecretString::from(url.as_str()))
}

/// The members of a secret that is a JSON object.
pub fn object(secret: &SecretString) -> Option<Map<String, Value>> {
    serde_json::from_str(secret.expose_secret()).ok()
}

/// A member that is a text, and not an empty one.
pub fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object
        .get(name)?
        .as_str()
        .filter(|member| !member.is_empty())
}

/// The variables that hold an ARN, of the command and the subcommand that was
/// chosen.
fn named(command: &Command, matches: &ArgMatches) -> Vec<(String, String)> {
    let mut named: Vec<_> = command
        .get_arguments()
        .filter_map(|argument| {
            let variable = variable(argument)?;
            let arn = matches.try_get_one::<String>(argument.get_id().as_str());
            let arn = arn.ok().flatten().filter(|_| variable.ends_with(SUFFIX))?;
            Some((variable.to_owned(), arn.clone()))
        })
        .collect();
    if let Some((name, matches)) = matches.subcommand()
        && let Some(command) = command.find_subcommand(name)
    {
        named.extend(self::named(command, matches));
    }
    named
}

/// The variables of all secrets, of the command and its subcommands.
fn secrets(command: &Command) -> Vec<String> {
    let mut secrets: Vec<_> = command
        .get_arguments()
        .filter(|argument| argument.is_hide_env_values_set())
        .filter_map(|argument| variable(argument).map(str::to_owned))
        .chain(command.get_subcommands().flat_map(secrets))
        .collect();
    secrets.sort_unstable();
    secrets.dedup();
    secrets
}

fn with_defaults(command: Command, found: &[Found]) -> Command {
    command
        .mut_args(|argument| {
            let value = found
                .iter()
                .find(|(setting, _)| variable(&argument) == Some(setting));
            match value {
                Some((_, value)) => argument
                    .required(false)
                    .required_unless_present(Resettable::<Id>::Reset)
                    .default_value(OsStr::from(value.expose_secret().to_owned()))
                    .hide_default_value(true),
                None => argument,
            }
        })
        .mut_subcommands(|command| with_defaults(command, found))
}

fn variable(argument: &Arg) -> Option<&str> {
    argument.get_env()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[test]
    fn a_secret_is_a_text_or_an_object_with_one_obvious_member() {
        for (stored, expected) in [
            ("a text", Some("a text")),
            ("\"quoted\"", Some("\"quoted\"")),
            ("17", Some("17")),
            (r#"{"anything":"a"}"#, Some("a")),
            (r#"{"sync_token":"a","other":"b"}"#, Some("a")),
            (r#"{"one":"a","other":"b"}"#, None),
            (r#"{"sync_token":7}"#, None),
            ("{}", None),
        ] {
            let found = value("PROXY_SYNC_TOKEN", &secret(stored));
            let found = found.ok();
            let found = found.as_ref().map(ExposeSecret::expose_secret);
            assert_eq!(found, expected, "{stored}");
        }
        let reason = value(
            "PROXY_SYNC_TOKEN",
            &secret(r#"{"one":"marker","two":"marker"}"#),
        );
        assert!(!reason.unwrap_err().contains("marker"));
    }

    #[test]
    fn a_database_secret_becomes_an_address() {
        for (stored, expected) in [
            (
                r#"{"username":"me","password":"p@ss/w:rd?","host":"db.test","port":5433,"dbname":"proxy","engine":"postgres"}"#,
                Some("postgres://me:p%40ss%2Fw%3Ard%3F@db.test:5433/proxy"),
            ),
            (
                r#"{"username":"me","password":"p","host":"db.test","port":"5433"}"#,
                Some("postgres://me:p@db.test:5433/postgres"),
            ),
            (
                r#"{"username":"me","password":"p","host":"db.test"}"#,
                Some("postgres://me:p@db.test/postgres"),
            ),
            (
                r#"{"username":"me","password":"p","host":"db.test","port":99999}"#,
                None,
            ),
            (r#"{"host":"db.test","password":"p"}"#, None),
        ] {
            let url = database_url(&secret(stored)).unwrap().ok();
            let url = url.as_ref().map(ExposeSecret::expose_secret);
            assert_eq!(url, expected, "{stored}");
        }
        assert!(database_url(&secret("postgres://me:p@db.test/proxy")).is_none());
        assert!(database_url(&secret(r#"{"url":"postgres://db"}"#)).is_none());
    }

    #[test]
    fn only_the_arn_of_a_secret_is_one() {
        for (text, is_arn) in [
            (
                "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a-AbCdEf",
                true,
            ),
            (
                "arn:aws-us-gov:secretsmanager:us-gov-west-1:1:secret:a",
                true,
            ),
            ("arn:aws:kms:eu-west-1:123456789012:key/1", false),
            ("arn:aws:secretsmanager", false),
            ("a secret itself", false),
            ("", false),
        ] {
            assert_eq!(arn(text).is_ok(), is_arn, "{text}");
        }
    }

    #[test]
    fn what_was_found_is_checked_like_what_was_given() {
        fn command() -> Command {
            let value = Arg::new("x")
                .long("x")
                .env("TEST_ONLY_X")
                .required(true)
                .value_parser(|text: &str| match text {
                    "good" => Ok(text.to_owned()),
                    _ => Err("bad"),
                });
            let arn = Arg::new("x_arn").long("x-arn").env("TEST_ONLY_X_ARN");
            Command::new("test").subcommand(Command::new("run").arg(value).arg(arn))
        }
        let parse = |found: &str| {
            with_defaults(command(), &[("TEST_ONLY_X".to_owned(), secret(found))])
                .try_get_matches_from(["test", "run", "--x-arn", "arn:a"])
        };
        assert!(parse("bad").is_err());
        let matches = parse("good").unwrap();
        let (_, run) = matches.subcommand().unwrap();
        assert_eq!(run.get_one::<String>("x").unwrap(), "good");
        assert_eq!(
            named(&command(), &matches),
            [("TEST_ONLY_X_ARN".to_owned(), "arn:a".to_owned())]
        );
    }

    #[test]
    fn a_secret_can_be_in_a_file_and_nowhere_else_then() {
        fn command() -> Command {
            let secret = |id: &'static str| Arg::new(id).long(id).hide_env_values(true);
            let value = secret("x")
                .env("TEST_ONLY_X")
                .required_unless_present("x_arn")
                .value_parser(|text: &str| match text {
                    "good" => Ok(text.to_owned()),
                    _ => Err("bad"),
                });
            let arn = Arg::new("x_arn").long("x-arn").env("TEST_ONLY_X_ARN");
            let open = Arg::new("y").long("y").env("TEST_ONLY_Y");
            Command::new("test").subcommand(Command::new("run").args([value, arn, open]))
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let read = |text: &str, set: &[&str]| {
            fs::write(&file, text).unwrap();
            read_files(command(), |name| {
                set.contains(&name).then(|| file.clone().into())
            })
        };
        let parse = |text| {
            let command = read(text, &["TEST_ONLY_X_FILE"]).unwrap();
            command.try_get_matches_from(["test", "run"])
        };
        let matches = parse("good\n").unwrap();
        let (_, run) = matches.subcommand().unwrap();
        assert_eq!(run.get_one::<String>("x").unwrap(), "good");
        assert!(parse("bad").is_err());

        // Only secrets are read from files.
        let unread = read("good", &["TEST_ONLY_Y_FILE"]).unwrap();
        assert!(unread.try_get_matches_from(["test", "run"]).is_err());

        for other in ["TEST_ONLY_X", "TEST_ONLY_X_ARN"] {
            let error = read("good", &["TEST_ONLY_X_FILE", other]).unwrap_err();
            let said = error.to_string();
            assert!(said.starts_with("TEST_ONLY_X_FILE: "), "{said}");
            assert!(said.ends_with(other), "{said}");
        }
        let gone = |name: &str| (name == "TEST_ONLY_X_FILE").then(|| "/nowhere/secret".into());
        let said = read_files(command(), gone).unwrap_err().to_string();
        assert!(said.contains("/nowhere/secret"), "{said}");
    }
}
