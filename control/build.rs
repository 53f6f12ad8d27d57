//! Control embeds the console as it was built; without it, an empty folder.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let console = Path::new(env!("CARGO_MANIFEST_DIR")).join("../console/dist");
    fs::create_dir_all(&console)?;
    println!("cargo::rerun-if-changed={}", console.display());
    Ok(())
}
