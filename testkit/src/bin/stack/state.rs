//! What survives a restart: the secrets, and the first users' keys.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use serde::{
    de::DeserializeOwned,
    {Deserialize, Serialize},
};
use serde_json::json;
use testkit::{
    bedrock,
    stack::admin::Admin,
    stack::{Programs, Secrets},
};

/// A folder that one launcher at a time works in.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) folder: PathBuf,
    _lock: File,
}

/// A user that we made, with the key that we know.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) user_id: String,
    pub(crate) access_key_id: String,
    pub(crate) raw_key: String,
}

/// A user to make on the first start.
#[derive(Debug)]
pub(crate) struct NewMember {
    pub(crate) name: &'static str,
    /// Answered by the simulated Bedrock, in place of the plan.
    pub(crate) is_on_bedrock: bool,
}

impl NewMember {
    pub(crate) fn on_plan(name: &'static str) -> Self {
        Self {
            name,
            is_on_bedrock: false,
        }
    }

    pub(crate) fn on_bedrock(name: &'static str) -> Self {
        Self {
            name,
            is_on_bedrock: true,
        }
    }
}

impl State {
    pub(crate) fn open(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        // Others may pass, because Postgres may run as another user; only we may look.
        fs::set_permissions(&folder, Permissions::from_mode(0o711))?;
        let lock = File::create(folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "Already running: another launcher uses {}.",
                    folder.display()
                )
            }
            Err(TryLockError::Error(error)) => return Err(error).context("lock the state"),
        }
        let state = Self {
            folder,
            _lock: lock,
        };
        state.set_logs_aside()?;
        Ok(state)
    }

    /// Each start has its own logs; those of the start before are kept.
    fn set_logs_aside(&self) -> Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let log = entry?.path();
            if log.extension().is_some_and(|extension| extension == "log") {
                fs::rename(&log, log.with_extension("log.previous"))?;
            }
        }
        Ok(())
    }

    pub(crate) fn secrets(&self, programs: &Programs) -> Result<Secrets> {
        let secrets = match self.read("secrets.json")? {
            Some(secrets) => secrets,
            None => Secrets::generate(programs)?,
        };
        // Also what was read: a secret that an older version did not know has
        // been made up for it just now.
        self.write("secrets.json", &secrets)?;
        Ok(secrets)
    }

    /// These users, made with a key each on the first start.
    pub(crate) async fn members(&self, new: &[NewMember], admin: &Admin) -> Result<Vec<Member>> {
        if let Some(members) = self.read("members.json")? {
            return Ok(members);
        }
        let mut members = Vec::new();
        for NewMember {
            name,
            is_on_bedrock,
        } in new
        {
            let user_id = admin.create_user(name).await?;
            let key = admin.issue_key(&user_id).await?;
            if *is_on_bedrock {
                let credential = json!({ "bedrock_api_key": bedrock::API_KEY, "verify": true });
                admin
                    .register_bedrock_key(&key.access_key_id, credential)
                    .await?;
                admin.route(&user_id, "bedrock_only").await?;
            }
            members.push(Member {
                name: (*name).to_owned(),
                user_id,
                access_key_id: key.access_key_id,
                raw_key: key.raw_key,
            });
        }
        self.write("members.json", &members)?;
        Ok(members)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.folder.join(name);
        if !path.exists() {
            return Ok(None);
        }
        let content = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let value = serde_json::from_slice(&content).with_context(|| {
            format!(
                "{} is damaged: `make clean-state` starts anew",
                path.display()
            )
        })?;
        Ok(Some(value))
    }

    /// Whole or not at all, and for our eyes only.
    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let path = self.folder.join(name);
        let unfinished = self.folder.join(format!("{name}.unfinished"));
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(&serde_json::to_vec_pretty(value)?)?;
        fs::rename(unfinished, &path).with_context(|| format!("write {}", path.display()))
    }
}
