package interop_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"peyk/test/sandbox"
)

// Clients with SASL libraries of their own: GNU's in msmtp, Cyrus' in mbsync.
func TestForeignClientsLogInBySCRAM(t *testing.T) {
	need(t, "msmtp", "mbsync", "openssl")
	s := sandbox.Start(t, "tls-client-certificates=request")
	const send = `printf 'Subject: %[1]s\n\nhi\n' | msmtp --host=localhost --port=${PEYK_SUBMISSION##*:} --tls --tls-trust-file=$PEYK_CA --auth=%[1]s %[2]s --from=$PEYK_USER1 $PEYK_USER2`
	for _, mech := range []string{"scram-sha-1", "scram-sha-256", "login", "plain"} {
		run(t, s, fmt.Sprintf(send, mech, `--user=$PEYK_USER1 --passwordeval="echo $PEYK_PASS1"`))
	}
	if out, err := try(s, fmt.Sprintf(send, "scram-sha-256", `--user=$PEYK_USER1 --passwordeval="echo wrong"`)); err == nil || !strings.Contains(out, "535") {
		t.Errorf("a wrong password: %v\n%s", err, out)
	}
	run(t, s, `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem -subj /CN=alice -days 10 2>/dev/null
echo "alice sha256=$(openssl x509 -in cert.pem -noout -fingerprint -sha256 | cut -d= -f2)" >$PEYK_CONTROL/domains/example.test/certificates`)
	run(t, s, fmt.Sprintf(send, "external", `--tls-cert-file=cert.pem --tls-key-file=key.pem --user=$PEYK_USER1`))
	delivered(t, s, s.Env["PEYK_MAILDIR2"], 5)
	for i, mech := range []string{"SCRAM-SHA-1", "SCRAM-SHA-256", "LOGIN"} {
		dir := filepath.Join(s.Dir, "home", fmt.Sprint("box", i))
		write(t, filepath.Join(s.Dir, "home", "mbsyncrc"), fmt.Sprintf("IMAPAccount a\nHost localhost\nPort %s\nSSLType IMAPS\nCertificateFile %s\nUser %s\nPass %s\nAuthMechs %s\n\n"+
			"IMAPStore r\nAccount a\n\nMaildirStore l\nInbox %[6]s/in\nPath %[6]s/\n\nChannel c%[7]d\nFar :r:\nNear :l:\nPatterns INBOX\nCreate Near\nSyncState *\n",
			port(s.Env["PEYK_IMAPS"]), s.Env["PEYK_CA"], s.Env["PEYK_USER2"], s.Env["PEYK_PASS2"], mech, dir, i), 0o600)
		os.Mkdir(dir, 0o700)
		run(t, s, `mbsync -c mbsyncrc -a`)
		if n := len(sandbox.Mail(filepath.Join(dir, "in"))); n != 5 {
			t.Errorf("mbsync with %s fetched %d messages", mech, n)
		}
		if !strings.Contains(s.Log(), "mechanism="+mech+" ") {
			t.Errorf("mbsync did not use %s", mech)
		}
	}
}

// carolLogsIn holds that carol, whom only the backend knows, gets mail and
// reads it, and nobody else does in her name.
func carolLogsIn(t *testing.T, s *sandbox.Sandbox, password string) {
	t.Helper()
	run(t, s, `swaks --server $PEYK_SMTP --from you@example.net --to carol@example.test --header 'Subject: for carol'`)
	read := func(user, password string) (string, error) {
		return try(s, fmt.Sprintf(`curl -sS --cacert $PEYK_CA imaps://localhost:${PEYK_IMAPS##*:}/INBOX -u '%s:%s' -X 'SEARCH ALL'`, user, password))
	}
	s.Eventually("mail for carol", func() bool {
		out, err := read("carol@example.test", password)
		return err == nil && strings.Contains(out, "* SEARCH 1")
	})
	for user, wrong := range map[string]string{"carol@example.test": "wrong", "nobody@example.test": password, "*@example.test": password, "carol)(mail=*@example.test": password} {
		if out, err := read(user, wrong); err == nil {
			t.Errorf("%s got in: %s", user, out)
		}
	}
	if out, err := read(s.Env["PEYK_USER1"], s.Env["PEYK_PASS1"]); err != nil {
		t.Errorf("an account of the users file: %v, %s", err, out)
	}
	if out, err := try(s, `swaks --server $PEYK_SMTP --from you@example.net --to nobody@example.test`); err == nil || !strings.Contains(out, "550") {
		t.Errorf("mail for nobody: %v\n%s", err, out)
	}
	if strings.Contains(s.Log(), password) {
		t.Error("the log shows the password")
	}
}

// withBackend starts a sandbox whose domain has a backend.
func withBackend(t *testing.T, line, file string) *sandbox.Sandbox {
	t.Helper()
	dir := t.TempDir()
	if file != "" {
		write(t, filepath.Join(dir, "control", "backends", "other"), file, 0o600)
	}
	return sandbox.StartIn(t, dir, "auth-backends=example.test "+line)
}

func TestLoginsByLDAP(t *testing.T) {
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
	need(t, "slapd", "slapadd", "curl", "swaks")
	dir, addr := place(t), fmt.Sprint("127.0.0.1:", sandbox.FreePort(t))
	write(t, filepath.Join(dir, "db", "x"), "", 0o600)
	conf := write(t, filepath.Join(dir, "slapd.conf"), fmt.Sprintf(`include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %[1]s/pid
database mdb
suffix "dc=example,dc=test"
rootdn "cn=admin,dc=example,dc=test"
directory %[1]s/db
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=peyk,dc=example,dc=test" read by anonymous auth by * none
`, dir), 0o600)
	ldif := write(t, filepath.Join(dir, "data.ldif"), `dn: dc=example,dc=test
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: cn=peyk,dc=example,dc=test
objectClass: inetOrgPerson
cn: peyk
sn: peyk
userPassword: ask-s3cret

dn: cn=Carol,dc=example,dc=test
objectClass: inetOrgPerson
cn: Carol
sn: C
mail: carol@example.test
userPassword: ldap-s3cret
`, 0o600)
	if out, err := exec.Command("slapadd", "-f", conf, "-l", ldif).CombinedOutput(); err != nil {
		t.Fatalf("slapadd: %v\n%s", err, out)
	}
	daemon(t, "tcp", addr, "slapd", "-d", "0", "-f", conf, "-h", "ldap://"+addr)
	s := withBackend(t, "ldap other", "url ldap://"+addr+"\nbase dc=example,dc=test\nfilter (&(objectClass=inetOrgPerson)(mail=%u))\nbind-dn cn=peyk,dc=example,dc=test\nbind-password ask-s3cret\nlist-attribute mail\n")
	carolLogsIn(t, s, "ldap-s3cret")
}

func TestLoginsByPostgreSQL(t *testing.T) {
	needRoot(t)
	need(t, "setpriv", "curl", "swaks")
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	account, err := user.Lookup("postgres")
	if len(found) == 0 || err != nil {
		t.Skip("PostgreSQL is not installed")
	}
	bin, dir, number := filepath.Dir(found[len(found)-1]), place(t), strconv.Itoa(sandbox.FreePort(t))
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	os.Chown(dir, uid, gid)
	as := []string{"setpriv", "--reuid", account.Uid, "--regid", account.Gid, "--clear-groups"}
	secret := write(t, filepath.Join(dir, "pw"), "pg-s3cret\n", 0o644)
	data := filepath.Join(dir, "data")
	out, err := exec.Command(as[0], append(as[1:], filepath.Join(bin, "initdb"), "-D", data, "-A", "scram-sha-256", "--pwfile", secret, "-N")...).CombinedOutput()
	if err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	daemon(t, "tcp", "127.0.0.1:"+number, append(as, filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-h", "127.0.0.1", "-p", number, "-F")...)
	sql := exec.Command(filepath.Join(bin, "psql"), "-h", "127.0.0.1", "-p", number, "-U", "postgres", "-v", "ON_ERROR_STOP=1", "postgres")
	sql.Env = append(os.Environ(), "PGPASSWORD=pg-s3cret")
	sql.Stdin = strings.NewReader(`CREATE TABLE mailboxes (address text PRIMARY KEY, hash text, quota text);
INSERT INTO mailboxes VALUES ('carol@example.test', '{SSHA}zs5Gm38h9xERdk4rzEimCMNEJGypk6hv', '*:bytes=1000000');`)
	if out, err := sql.CombinedOutput(); err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
	s := withBackend(t, "postgresql other", "connect host=127.0.0.1 port="+number+" user=postgres password=pg-s3cret dbname=postgres sslmode=disable\n"+
		"password-query SELECT hash FROM mailboxes WHERE address = %u\nuser-query SELECT quota AS quota_rule FROM mailboxes WHERE address = %u\nlist-query SELECT address FROM mailboxes\n")
	carolLogsIn(t, s, "secret")
}

func TestLoginsByAForeignDovecot(t *testing.T) {
	needRoot(t)
	need(t, "curl", "swaks")
	dir := place(t)
	auth, userdb := filepath.Join(dir, "auth.sock"), filepath.Join(dir, "auth-userdb")
	dovecot(t, auth, "~/Maildir", fmt.Sprintf("passdb {\n  driver = passwd-file\n  args = %[1]s/users\n}\nuserdb {\n  driver = passwd-file\n  args = %[1]s/users\n}", dir), "protocols = imap",
		fmt.Sprintf("service auth {\n  unix_listener %s {\n    mode = 0666\n  }\n  unix_listener %s {\n    mode = 0666\n  }\n}", auth, userdb),
		"service imap-login {\n  inet_listener imap {\n    port = 0\n  }\n}")
	write(t, filepath.Join(dir, "users"), "carol@example.test:{SHA512-CRYPT}$6$myNzh8Iiqbzfmrmd$dEsmzVGY2s.5X8Be5vOrqiHQqGCsBzhjZcHk2f4YSuZ2/7RA8cHT2ag2nV6WGEM/5dIRSCh.8nSMOxcu2vRzm/::::::\n", 0o644)
	s := withBackend(t, "dovecot "+auth+" "+userdb, "")
	carolLogsIn(t, s, "secret")
}

// Tokens that msmtp and curl present, signed by a key whose public half lies in
// a file.
func TestForeignClientsLogInByToken(t *testing.T) {
	need(t, "msmtp", "curl")
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	dir := place(t)
	keys := write(t, filepath.Join(dir, "keys.json"), `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"`+encode(public)+`"}]}`, 0o644)
	token := func(user string, end int) string {
		text := encode([]byte(`{"alg":"EdDSA","kid":"k"}`)) + "." + encode(fmt.Appendf(nil, `{"iss":"https://id.example","aud":"mail","email":%q,"exp":%d}`, user, end))
		return text + "." + encode(ed25519.Sign(private, []byte(text)))
	}
	s := sandbox.Start(t, "oauth-keys="+keys, "oauth-issuer=https://id.example", "oauth-audience=mail")
	s.Env["GOOD"], s.Env["OVER"] = token(s.Env["PEYK_USER1"], 1<<33), token(s.Env["PEYK_USER1"], 1)
	send := `printf 'Subject: token\n\nhi\n' | msmtp --host=localhost --port=${PEYK_SUBMISSION##*:} --tls --tls-trust-file=$PEYK_CA --auth=%s --user=%s --passwordeval='echo $%s' --from=$PEYK_USER1 $PEYK_USER2`
	for _, mech := range []string{"oauthbearer", "xoauth2"} {
		run(t, s, fmt.Sprintf(send, mech, "$PEYK_USER1", "GOOD"))
		for _, bad := range [][2]string{{"$PEYK_USER1", "OVER"}, {"$PEYK_USER2", "GOOD"}} {
			if out, err := try(s, fmt.Sprintf(send, mech, bad[0], bad[1])); err == nil {
				t.Errorf("%s %v got in: %s", mech, bad, out)
			}
		}
	}
	delivered(t, s, s.Env["PEYK_MAILDIR2"], 2)
	for _, url := range []string{"imaps://localhost:${PEYK_IMAPS##*:}/INBOX", "pop3s://localhost:${PEYK_POP3S##*:}/"} {
		run(t, s, `curl -sS --cacert $PEYK_CA `+url+` -u $PEYK_USER1: --oauth2-bearer $GOOD`)
		if out, err := try(s, `curl -sS --cacert $PEYK_CA `+url+` -u $PEYK_USER1: --oauth2-bearer $OVER`); err == nil {
			t.Errorf("%s: a token that is over got in: %s", url, out)
		}
	}
	if log := s.Log(); strings.Contains(log, s.Env["GOOD"][len(s.Env["GOOD"])-40:]) || !strings.Contains(log, "mechanism=OAUTHBEARER") || !strings.Contains(log, "mechanism=XOAUTH2") {
		t.Error("the log shows a token, or lacks a mechanism")
	}
}
