//! Each form with what hides in it, and that what no rule names is gone.

use seawall_sim::SeededRng;

use super::*;

/// Shape of what `pg_dump` writes; `tests/postgres.rs` runs the real one.
const DUMP: &str = "--
-- PostgreSQL database dump
--

\\restrict abc

SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $_$ SELECT 'a;b' || $$x;y$$ $_$;

/* a comment; with /* another */ in it */
CREATE TABLE public.customers (
    id integer NOT NULL,
    email text DEFAULT 'no;one'::text,
    \"Full \"\"Name\" text,
    note text
);

COMMENT ON TABLE public.customers IS 'Ada''s; secret';

COPY public.customers (id, email, \"Full \"\"Name\", note) FROM stdin;
1\tada@example.org\tAda\tfirst;\\tnote
2\t\\N\tBob\t\\N
3\tada@example.org\tCleo\tSECRET
\\.

COPY public.salaries (id, amount) FROM stdin;
1\tSECRET
\\.

INSERT INTO public.salaries VALUES (1, 'SECRET; and more ' || E'it\\'s; SECRET');
SELECT pg_catalog.lowrite(0, '\\x534543524554');
SELECT pg_catalog.setval('public.customers_id_seq', 3, true);
ALTER TABLE ONLY public.customers ADD CONSTRAINT k PRIMARY KEY (id);
\\unrestrict abc
";

fn rules(text: &str) -> Rules {
    Rules::parse(&format!("format = \"seawall-sanitise/1\"\n{text}")).expect("rules")
}

/// What becomes of one file under one rule.
fn filtered(rule: &str, file: &str) -> Result<(String, Counts), (u64, String)> {
    let rules = rules(&format!("[[rule]]\npath = \"f\"\n{rule}"));
    let rule = rules.of(b"f").expect("it has a rule");
    let masker = Masker::new(&mut SeededRng::new(7));
    let (mut out, mut counts) = (Vec::new(), Counts::default());
    match filter(rule, &mut file.as_bytes(), &mut out, &masker, &mut counts) {
        Ok(()) => Ok((String::from_utf8(out).expect("UTF-8"), counts)),
        Err(Stop::Content(line, why)) => Err((line, why)),
        Err(Stop::Io(e)) => panic!("{e}"),
    }
}

const DUMP_RULE: &str = "[rule.dump.\"public.customers\"]\nid = \"keep\"\nemail = \"hash\"\n\"Full \\\"Name\" = { fixed = \"a\\tb\" }\n";

#[test]
fn a_dump_keeps_its_schema_and_what_is_named() {
    let (out, counts) = filtered(DUMP_RULE, DUMP).expect("filtered");
    for gone in
        ["SECRET", "Ada", "Bob", "note\n", "salaries (", "INSERT", "lowrite", "COMMENT", "--"]
    {
        assert!(!out.contains(gone), "{gone:?} is in: {out}");
    }
    for stays in [
        "\\restrict abc\n",
        "$_$ SELECT 'a;b' || $$x;y$$ $_$;\n",
        "email text DEFAULT 'no;one'::text",
        "COPY public.customers (id, email, \"Full \"\"Name\") FROM stdin;\n",
        "\n2\t\\N\ta\\tb\n",
        "\\.\n",
        "pg_catalog.setval(",
        "ALTER TABLE ONLY public.customers ADD CONSTRAINT k PRIMARY KEY (id);\n",
    ] {
        assert!(out.contains(stays), "{stays:?} is not in: {out}");
    }
    let emails: Vec<_> = out.lines().filter(|l| l.ends_with("a\\tb")).collect();
    let email = |n: usize| emails[n].split('\t').nth(1).expect("a column").to_owned();
    assert_eq!(email(0), email(2), "equal values stay equal");
    assert_eq!(email(0).len(), 32);
    let expected = Counts {
        filtered: 1,
        records: 3,
        // COMMENT, the row of salaries, INSERT, lowrite.
        dropped_records: 4,
        masked: 5,
        dropped_values: 3,
        ..Counts::default()
    };
    assert_eq!(counts, expected);
}

#[test]
fn dumps_that_are_not_understood_are_refused() {
    let of = |file: &str| filtered(DUMP_RULE, file).expect_err("refused").1;
    assert!(of("PGDMP...").contains("custom format"));
    assert!(of("COPY public.customers FROM stdin;\n\\.\n").contains("not understood"));
    assert!(of("COPY public.customers (id) FROM stdin;\n1\n").contains("no end"));
    assert!(of("COPY public.customers (id, email) FROM stdin;\n1\n\\.\n").contains("1 fields"));
    assert!(of("CREATE TABLE x (a text DEFAULT 'open").contains("no end"));
    // Nothing dropped is held: a row of any length goes by.
    let long = format!("INSERT INTO x VALUES ('{}');\n", "a;".repeat(1 << 16));
    let (out, counts) = filtered(DUMP_RULE, &long).expect("filtered");
    assert_eq!((out.as_str(), counts.dropped_records), ("", 1));
}

#[test]
fn hidden_statements_do_not_pass() {
    for hidden in [
        "SELECT 1; SELECT secret FROM t;",
        "select pg_catalog.setval('x', 1);",
        "SELECT pg_catalog.setvalue('SECRET');",
        "DO $$ BEGIN RAISE 'SECRET'; END $$;",
        "\\copy t from program 'SECRET'",
        "/* SET */ INSERT INTO t VALUES ('SECRET');",
        "VALUES ('SECRET');",
        "ALTER LARGE OBJECT 4711 OWNER TO keeper;",
        "GRANT SELECT ON LARGE OBJECT 4711 TO keeper;",
        "CREATE USER MAPPING FOR ada SERVER s OPTIONS (\"user\" 'ada', password 'SECRET');",
        "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'SECRET');",
        "CREATE FOREIGN DATA WRAPPER w OPTIONS (token 'SECRET');",
        "CREATE FOREIGN TABLE t (a text) SERVER s OPTIONS (query 'SECRET');",
        "CREATE SUBSCRIPTION s CONNECTION 'host=x password=SECRET' PUBLICATION p;",
        "CREATE ROLE ada PASSWORD 'SECRET';",
        "ALTER ROLE ada WITH LOGIN PASSWORD 'SECRET';",
        "CREATE USER ada PASSWORD 'SECRET';",
        "ALTER DATABASE d SET my.secret TO 'SECRET';",
        "ALTER SYSTEM SET primary_conninfo TO 'SECRET';",
        "ALTER SERVER s OPTIONS (SET password 'SECRET');",
        "GRANT ALL ON FOREIGN SERVER s TO ada;",
        "CREATE OR REPLACE;",
    ] {
        let (out, counts) = filtered(DUMP_RULE, &format!("{hidden}\n")).expect("filtered");
        assert_eq!(out, "", "{hidden}");
        assert!(counts.dropped_records > 0, "{hidden}");
    }
}

#[test]
fn what_makes_the_schema_passes_by_its_kind() {
    for made in [
        "CREATE UNIQUE INDEX i ON public.t USING btree (a);",
        "CREATE UNLOGGED TABLE public.t (a text);",
        "CREATE OR REPLACE VIEW public.v AS SELECT 1;",
        "CREATE MATERIALIZED VIEW public.m AS SELECT 1 WITH NO DATA;",
        "CREATE CONSTRAINT TRIGGER g AFTER INSERT ON public.t EXECUTE FUNCTION public.f();",
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION public.f();",
        "CREATE OR REPLACE PROCEDURAL LANGUAGE plperl;",
        "CREATE TEXT SEARCH CONFIGURATION public.c (PARSER = pg_catalog.\"default\");",
        "ALTER DEFAULT PRIVILEGES FOR ROLE ada IN SCHEMA public GRANT SELECT ON TABLES TO bob;",
        "ALTER SEQUENCE public.s OWNED BY public.t.a;",
    ] {
        let made = format!("{made}\n");
        let (out, counts) = filtered(DUMP_RULE, &made).expect("filtered");
        assert_eq!((out, counts.dropped_records), (made, 0));
    }
}

/// What `pg_dump` writes of a function in SQL's own form (PostgreSQL 14 and later).
#[test]
fn a_body_of_statements_is_one_with_its_function() {
    let body = "CREATE FUNCTION public.f(n integer) RETURNS integer\n    LANGUAGE sql\n    \
                BEGIN ATOMIC\n SELECT CASE WHEN (n > 1) THEN 1 ELSE 2 END;\n SELECT 3;\nEND;\n";
    // The deparser puts the two words on a line of their own.
    let body = body.replace("    BEGIN ATOMIC", "BEGIN ATOMIC");
    let (out, counts) = filtered(DUMP_RULE, &format!("{body}INSERT INTO t VALUES ('SECRET');\n"))
        .expect("filtered");
    assert_eq!((out, counts.dropped_records), (body, 1));
    let (_, why) =
        filtered(DUMP_RULE, "CREATE FUNCTION f() RETURNS int\nBEGIN ATOMIC\n SELECT 1;\n")
            .expect_err("refused");
    assert!(why.contains("no end"), "{why}");
}

#[test]
fn columns_of_csv() {
    let rule = "csv = { id = \"keep\", mail = \"hash\", name = { fixed = \"x,y\" } }";
    let file = "id,mail,secret,name\r\n1,a@b,\"S,\n\"\"E\",Ada\r\n2,,S,\"B \"\"q\"\"\"\n";
    let (out, counts) = filtered(rule, file).expect("filtered");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], "id,mail,name");
    assert!(lines[1].starts_with("1,") && lines[1].ends_with(",\"x,y\""), "{out}");
    assert_eq!(lines[2], "2,,\"x,y\"", "nothing stays nothing");
    assert_eq!((counts.records, counts.dropped_values), (2, 2));
    let of = |file: &str| filtered(rule, file).expect_err("refused");
    assert_eq!(of("id,mail\n1,2,3\n"), (2, "3 fields under a header of 2".to_owned()));
    assert!(of("secret\nS\n").1.contains("none of its columns"));
    assert!(of("id,\"mail\n1,2").1.contains("not closed"));
    assert!(of("id,mail\n\"1\"x,2\n").1.contains("behind a closing quote"));
    // Two columns of one name: neither is meant.
    let (out, _) = filtered(rule, "id,mail,mail\n1,S,S\n").expect("filtered");
    assert_eq!(out, "id\n1\n");
    let (out, _) =
        filtered("separator = \";\"\ncsv = { b = \"keep\" }", "a;b\n1;x,y\n").expect("ok");
    assert_eq!(out, "b\nx,y\n");
}

#[test]
fn a_column_whose_name_is_not_utf8_goes() {
    let rules = rules("[[rule]]\npath = \"f\"\ncsv = { \"\" = \"keep\", id = \"keep\" }");
    let masker = Masker::new(&mut SeededRng::new(7));
    let (mut out, mut counts) = (Vec::new(), Counts::default());
    let file: &[u8] = b"Stra\xdfe,id\nSECRET,1\n";
    filter(rules.of(b"f").expect("a rule"), &mut &*file, &mut out, &masker, &mut counts)
        .expect("filtered");
    assert_eq!(out, b"id\n1\n");
}

#[test]
fn keys_of_json_lines() {
    let rule = "jsonl = { id = \"keep\", mail = \"hash\", n = { fixed = \"-\" }, gone = \"drop\" }";
    let file =
        "{\"id\":{\"a\":1},\"mail\":\"x\",\"n\":3,\"gone\":1,\"other\":\"S\"}\n\n{\"mail\":null}\n";
    let (out, counts) = filtered(rule, file).expect("filtered");
    assert!(out.starts_with("{\"id\":{\"a\":1},\"mail\":\"") && out.ends_with("{\"mail\":null}\n"));
    assert!(!out.contains("other") && !out.contains("gone"), "{out}");
    assert_eq!((counts.records, counts.masked, counts.dropped_values), (2, 2, 2));
    let (line, why) = filtered(rule, "{}\n[\"SECRET\"]\n").expect_err("refused");
    assert_eq!((line, why.as_str()), (2, "not a JSON object"), "and it is not quoted");
}

#[test]
fn rules_that_mean_nothing_are_refused() {
    let head = "format = \"seawall-sanitise/1\"\n";
    for (text, why) in [
        ("", "not a seawall-sanitise/1 file"),
        ("format = \"seawall-sanitise/2\"\n[[rule]]\npath=\"a\"\nkeep=true", "its format is"),
        (head, "no rule"),
    ] {
        let e = Rules::parse(text).expect_err(text).to_string();
        assert!(e.contains(why), "{e}");
    }
    for (rule, why) in [
        ("path = \"a\"", "exactly one of"),
        ("path = \"a\"\nkeep = false", "exactly one of"),
        ("path = \"a\"\nkeep = true\njsonl = { a = \"keep\" }", "exactly one of"),
        ("path = \"/a\"\nkeep = true", "without a slash"),
        ("path = \"a[\"\nkeep = true", "rule 1"),
        ("path = \"a\"\ncsv = { a = \"mask\" }", "none of keep, drop, hash"),
        ("path = \"a\"\ncsv = {}", "keeps no column"),
        ("path = \"a\"\nkeep = true\nseparator = \";\"", "goes with csv"),
        ("path = \"a\"\nseparator = \"ab\"\ncsv = { a = \"keep\" }", "one ASCII character"),
        ("path = \"a\"\ndump = { t = \"drop\" }", "neither"),
        ("path = \"a\"\nkeep = true\nmore = 1", "unknown field"),
    ] {
        let e = Rules::parse(&format!("{head}[[rule]]\n{rule}")).expect_err(rule).to_string();
        assert!(e.contains(why), "{rule}: {e}");
    }
}

#[test]
fn a_tree_keeps_what_is_named_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir_all(from.join("www/img")).expect("made");
    fs::create_dir_all(from.join("private")).expect("made");
    fs::write(from.join("www/img/a.png"), b"png").expect("written");
    fs::write(from.join("www/index.html"), b"<p>").expect("written");
    fs::write(from.join("private/keys"), b"SECRET").expect("written");
    fs::write(from.join("people.csv"), b"id,name\n1,Ada\n").expect("written");
    std::os::unix::fs::symlink("/etc/passwd", from.join("people2.csv")).expect("linked");
    std::os::unix::fs::symlink("index.html", from.join("www/start")).expect("linked");
    fs::set_permissions(from.join("www/index.html"), fs::Permissions::from_mode(0o4755))
        .expect("set");
    for (path, mode) in [("www", 0o750), ("www/img", 0o705)] {
        fs::set_permissions(from.join(path), fs::Permissions::from_mode(mode)).expect("set");
    }
    let rules = rules(
        "[[rule]]\npath = \"www/**\"\nkeep = true\n[[rule]]\npath = \"*.csv\"\ncsv = { id = \"keep\" }",
    );
    let mut rng = SeededRng::new(1);
    let counts = sanitise(&from, &to, &rules, &mut rng).expect("sanitised");
    assert_eq!((counts.kept, counts.filtered, counts.dropped), (3, 1, 2));
    assert_eq!(fs::read_to_string(to.join("people.csv")).expect("there"), "id\n1\n");
    assert_eq!(fs::read(to.join("www/img/a.png")).expect("there"), b"png");
    assert!(!to.join("private").exists() && to.join("people2.csv").symlink_metadata().is_err());
    let mode = fs::metadata(to.join("www/index.html")).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "powers are not carried over");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
    assert_eq!(
        (mode(&to), mode(&to.join("www")), mode(&to.join("www/img"))),
        (0o700, 0o750, 0o705)
    );

    let e = sanitise(&from, &to, &rules, &mut rng).expect_err("not empty");
    assert!(matches!(e, SanitiseError::NotEmpty(_)), "{e}");
    let e = sanitise(&from, &from.join("www/inside"), &rules, &mut rng).expect_err("inside");
    assert!(matches!(e, SanitiseError::Within(..)), "{e}");
    fs::write(from.join("people.csv"), b"id,name\n1\n").expect("written");
    let third = dir.path().join("third");
    let e = sanitise(&from, &third, &rules, &mut rng).expect_err("refused");
    assert!(e.to_string().contains("people.csv, line 2"), "{e}");
    assert!(!third.join("people.csv").exists(), "nothing half-way is left");
}
