package authremote

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/address"
	"peyk/internal/control"
	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/status"
)

const canary = "c4n4ry-p4ss"

// world is an auth-remote of a control directory, and its log.
type world struct {
	dir  string
	log  bytes.Buffer
	auth *dovecotauth.Auth
	who  *dovecotauth.UserDB
}

func load(dir string, set map[string]string) (*control.Config, error) {
	return control.Load(dir, control.Of("auth-remote"), set)
}

func (w *world) put(t testing.TB, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	os.MkdirAll(filepath.Dir(path), 0o755)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "ar")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &world{dir: dir}
}

func (w *world) start(t testing.TB, set map[string]string) {
	t.Helper()
	c, err := load(w.dir, set)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(c, eventlog.New(&w.log, "auth-remote", eventlog.Logfmt, time.Now))
	if err != nil {
		t.Fatal(err)
	}
	la, err := net.Listen("unix", filepath.Join(w.dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	lu, err := net.Listen("unix", filepath.Join(w.dir, "u"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- serveAll(ctx, &dovecotauth.Server{Auth: s, Directory: s}, []net.Listener{la}, []net.Listener{lu})
	}()
	w.auth = dovecotauth.NewAuth(filepath.Join(w.dir, "a"), dovecotauth.Options{})
	w.who = dovecotauth.NewUserDB(filepath.Join(w.dir, "u"), dovecotauth.Options{})
	t.Cleanup(func() {
		w.auth.Close()
		w.who.Close()
		cancel()
		<-done
		if strings.Contains(w.log.String(), canary) {
			t.Errorf("the log shows a secret:\n%s", w.log.String())
		}
	})
}

// plain logs in and returns the reply code, 0 for success.
func (w *world) plain(t testing.TB, user, password string) int {
	t.Helper()
	_, err := w.auth.Authenticate(t.Context(), "peyk", "PLAIN", []byte("\x00"+user+"\x00"+password), dovecotauth.AuthInfo{Secured: true})
	if err == nil {
		return 0
	}
	return status.Of(err).Code
}

func TestSQLite(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.dir, "mail.db")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{`CREATE TABLE users (name TEXT, domain TEXT, hash TEXT, home TEXT, quota TEXT)`,
		`INSERT INTO users VALUES ('alice', 'example.org', '{PLAIN}` + canary + `', '/srv/alice', '*:bytes=5'), ('bob', 'example.org', NULL, NULL, NULL), ('odd', 'example.org', '{ROT13}x', NULL, NULL)`} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	db.Close()
	w.put(t, "backends/mail", "# users of the panel\nfile "+file+"\npassword-query SELECT hash FROM users WHERE name = %n AND domain = %d\n"+
		"user-query SELECT home, quota AS quota_rule, 'x%%y' AS note FROM users WHERE name || '@' || domain = %u\nlist-query SELECT name || '@' || domain FROM users\n", 0o640)
	w.start(t, map[string]string{"auth-backends": "example.org sqlite mail"})
	for user, code := range map[string]int{"alice@example.org": 0, "bob@example.org": 535, "nobody@example.org": 535, "' OR 1=1 --@example.org": 535,
		"odd@example.org": 454, "alice@other.example": 454, "alice": 535} {
		if got := w.plain(t, user, canary); got != code {
			t.Errorf("%s = %d, want %d", user, got, code)
		}
	}
	if got := w.plain(t, "alice@example.org", "wrong"); got != 535 {
		t.Errorf("a wrong password: %d", got)
	}
	u, found, err := w.who.Lookup(t.Context(), "x", "alice@example.org")
	if err != nil || !found || u.Home != "/srv/alice" || u.Quota != "*:bytes=5" || u.UID != -1 || u.Fields["note"] != "x%y" {
		t.Errorf("alice = %+v, %v, %v", u, found, err)
	}
	if _, found, err := w.who.Lookup(t.Context(), "x", "nobody@example.org"); found || err != nil {
		t.Errorf("nobody = %v, %v", found, err)
	}
	if names, err := w.who.List(t.Context(), "x"); err != nil || strings.Join(names, " ") != "alice@example.org bob@example.org odd@example.org" {
		t.Errorf("List = %v, %v", names, err)
	}
}

func TestProgram(t *testing.T) {
	w := newWorld(t)
	script := w.put(t, "check", "#!/bin/sh\nlogin=$(tr '\\0' ' ' <&3)\ncase $login in 'alice@example.org "+canary+" '*) exec \"$@\";; down*) exit 111;; esac\nexit 1\n", 0o755)
	w.start(t, map[string]string{"auth-backends": "* checkpassword " + script})
	for user, code := range map[string]int{"alice@example.org": 0, "bob@example.org": 535, "down@example.org": 454} {
		if got := w.plain(t, user, canary); got != code {
			t.Errorf("%s = %d, want %d", user, got, code)
		}
	}
	if _, found, err := w.who.Lookup(t.Context(), "x", "alice@example.org"); found || err != nil {
		t.Errorf("a program knows who exists: %v, %v", found, err)
	}
}

func TestTokens(t *testing.T) {
	provider := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		out.Header().Set("Content-Type", "application/json")
		id, secret, _ := r.BasicAuth()
		json.NewEncoder(out).Encode(map[string]any{"active": r.FormValue("token") == canary && id == "peyk" && secret == "s3cret", "email": "alice@example.org", "scope": "mail"})
	}))
	defer provider.Close()
	w := newWorld(t)
	secret := w.put(t, "secret", "s3cret\n", 0o600)
	w.start(t, map[string]string{"oauth-introspection": provider.URL, "oauth-client-id": "peyk", "oauth-client-secret": secret, "oauth-scope": "mail"})
	try := func(mech, initial string) (user, challenge string, err error) {
		login, err := w.auth.Exchange(t.Context(), "imap", mech, []byte(initial), dovecotauth.AuthInfo{}, func(text []byte) ([]byte, error) {
			challenge = string(text)
			return []byte("\x01"), nil
		})
		return login.User, challenge, err
	}
	for _, c := range [][3]string{
		{"OAUTHBEARER", "n,,\x01auth=Bearer " + canary + "\x01\x01", ""},
		{"OAUTHBEARER", "n,a=Alice@example.org,\x01auth=Bearer " + canary + "\x01\x01", ""},
		{"XOAUTH2", "user=alice@example.org\x01auth=Bearer " + canary + "\x01\x01", ""},
		{"OAUTHBEARER", "n,a=bob@example.org,\x01auth=Bearer " + canary + "\x01\x01", `{"scope":"mail","status":"invalid_token"}`},
		{"OAUTHBEARER", "n,,\x01auth=Bearer other\x01\x01", `{"scope":"mail","status":"invalid_token"}`},
		{"XOAUTH2", "user=alice@example.org\x01auth=Bearer other\x01\x01", `{"schemes":"bearer","scope":"mail","status":"401"}`},
		{"OAUTHBEARER", "garbage", ""},
	} {
		user, challenge, err := try(c[0], c[1])
		if want := strings.Contains(c[1], canary) && c[2] == ""; challenge != c[2] || (err == nil) != want || want && user != "alice@example.org" {
			t.Errorf("%s %.20q: %s, %s, %v", c[0], c[1], user, challenge, err)
		}
	}
}

func TestConfigurationsThatCannotBe(t *testing.T) {
	w := newWorld(t)
	w.put(t, "backends/open", "file /x\npassword-query SELECT 1\n", 0o644)
	w.put(t, "backends/unknown", "file /x\npassword-query SELECT 1\npasword x\n", 0o600)
	w.put(t, "backends/percent", "file /x\npassword-query SELECT %x\n", 0o600)
	w.put(t, "backends/relative", "file x\npassword-query SELECT 1\n", 0o600)
	w.put(t, "backends/filter", "url ldap://x\nbase dc=x\nfilter (mail=%u\n", 0o600)
	w.put(t, "backends/scheme", "url http://x\nbase dc=x\nfilter (mail=%u)\n", 0o600)
	for _, line := range []string{"x sqlite open", "x sqlite unknown", "x sqlite percent", "x sqlite relative", "x sqlite absent", "x postgresql relative", "x ldap filter", "x ldap scheme"} {
		c, err := load(w.dir, map[string]string{"auth-backends": line})
		if err == nil {
			_, err = New(c, new(eventlog.Log))
		}
		if err == nil || !strings.Contains(err.Error(), "backends/") {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, line := range []string{"x", "x what", "x ldap", "x ldap a b", "x sqlite ../a", "x checkpassword relative", "x dovecot relative", "a..b users", "x users y"} {
		if _, err := load(w.dir, map[string]string{"auth-backends": line}); err == nil {
			t.Errorf("%q was accepted", line)
		}
	}
	c, err := load(w.dir, map[string]string{"oauth-keys": "https://id.example/keys"})
	if err == nil {
		_, err = New(c, new(eventlog.Log))
	}
	if err == nil {
		t.Error("keys without an issuer were accepted")
	}
}

// FuzzOptions holds that what is read of a file has names and values, and that
// a query binds as many values as it has placeholders.
func FuzzOptions(f *testing.F) {
	f.Add("file /x\npassword-query SELECT a FROM b WHERE c = %u AND d = '%%' AND e = %n\n")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseOptions(text)
		for name, value := range o {
			if err == nil && (name == "" || value == "") {
				t.Fatalf("%q gave %q=%q", text, name, value)
			}
		}
		n := 0
		q, err := parseQuery(text, func(int) string { n++; return "?" })
		if err == nil && len(q.bind(address.Address{Local: "a", Domain: "b"})) != n {
			t.Fatalf("%q binds %d values", text, n)
		}
	})
}
