//! Where the library is: the folder that SMALLMIND_LIB_DIR names, or what pkg-config says.
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=SMALLMIND_LIB_DIR");
    println!("cargo:rustc-link-lib=smallmind");
    if let Ok(folder) = std::env::var("SMALLMIND_LIB_DIR") {
        println!("cargo:rustc-link-search=native={folder}");
        return;
    }
    let said = Command::new("pkg-config").args(["--libs-only-L", "smallmind"]).output();
    if let Ok(said) = said {
        for word in String::from_utf8_lossy(&said.stdout).split_whitespace() {
            println!("cargo:rustc-link-search=native={}", word.trim_start_matches("-L"));
        }
    }
}
