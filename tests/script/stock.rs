//! Each file that pkfs makes, before stock tools.

use std::fs;

use super::bench::Bench;

#[test]
fn git_gpg_and_three_tars_read_what_pkfs_writes() {
    let bench = Bench::new();
    for value in ["one", "two", "three"] {
        bench.put("db/password", value.as_bytes());
    }
    bench.put("empty", b"");
    bench.k(&["mv", "a.pk", "db", "store"]);
    bench.tool("gpg", &["--batch", "--quiet", "--import", "a.key"]);
    judge(&bench);
    bench.k(&["compact", "a.pk"]);
    judge(&bench);
    bench.put("store/password", b"four");
    judge(&bench);
    bench.tool("gpgconf", &["--kill", "all"]);
}

fn judge(bench: &Bench) {
    bench.extracted();
    let git = |arguments: &[&str]| bench.git(&[&["--git-dir=repository"], arguments].concat());
    git(&["fsck", "--strict", "--no-dangling"]);
    let commits = git(&["rev-list", "--all"]);
    assert!(commits.lines().count() >= 10);
    for commit in commits.lines() {
        git(&["verify-commit", commit]);
    }

    let versions = bench.k(&["log", "a.pk", "store/password", "--json"]);
    let versions: serde_json::Value = serde_json::from_slice(&versions).unwrap();
    for version in versions.as_array().unwrap() {
        let number = version["version"].to_string();
        let message = format!("{}:value.pgp", version["commit"].as_str().unwrap());
        let decrypt = "git --git-dir=repository show \"$0\" | gpg --quiet --batch --decrypt";
        let value = bench.tool("sh", &["-c", decrypt, &message]);
        assert_eq!(value.as_bytes(), bench.k(&["get", "a.pk", "store/password", "-r", &number]));
    }
    let unlock = ["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase-file", "pw", "--decrypt"];
    let key = bench.tool("gpg", &[&unlock[..], &["repository/unlock/passphrase.pgp"]].concat());
    assert!(key.starts_with("-----BEGIN PGP PRIVATE KEY BLOCK-----"));

    // The same files, whichever tar extracts them.
    let python = "import tarfile; tarfile.open('a.pk').extractall('by-python')";
    for (name, program, arguments) in [
        ("by-tar", "tar", &["-xf", "a.pk", "-C", "by-tar"][..]),
        ("by-bsdtar", "bsdtar", &["-xf", "a.pk", "-C", "by-bsdtar"]),
        ("by-python", "python3", &["-W", "ignore", "-c", python]),
    ] {
        let _ = fs::remove_dir_all(bench.path(name));
        fs::create_dir(bench.path(name)).unwrap();
        bench.tool(program, arguments);
    }
    bench.tool("diff", &["-r", "by-tar", "by-bsdtar"]);
    bench.tool("diff", &["-r", "by-tar", "by-python"]);
    bench.tool("diff", &["-r", "-x", "info", "by-tar/objects", "repository/objects"]);
    bench.git(&["--git-dir=by-tar", "fsck", "--strict", "--no-dangling"]);
}
