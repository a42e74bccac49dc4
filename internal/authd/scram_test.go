package authd

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"peyk/internal/commit"
	"peyk/internal/dovecotauth"
	"peyk/internal/passhash"
	"peyk/internal/status"
	"peyk/internal/table"
)

// scramUsers are alice with keys, bob with a {SCRAM-SHA-1} hash, carol with a
// {PLAIN} password, dave without keys, eve with broken ones and fred who may
// not log in.
func scramUsers(t testing.TB) string {
	t.Helper()
	fields := ""
	for _, h := range []passhash.SCRAM{passhash.SHA256(), passhash.SHA1()} {
		k, err := h.Make(rand.Reader, canary)
		if err != nil {
			t.Fatal(err)
		}
		fields += " " + table.SCRAMField(h) + "=" + k.String()
	}
	hash, err := passhash.Make(rand.Reader, canary)
	if err != nil {
		t.Fatal(err)
	}
	bob, _ := passhash.SHA1().Make(rand.Reader, canary)
	return "alice:" + hash + "::::::" + fields + "\nbob:{SCRAM-SHA-1}" + bob.String() + "\ncarol:{PLAIN}" + canary + "\ndave:" + hash + "\n" +
		"eve:" + hash + "::::::scram_sha256=1,2\nfred:" + hash + "::::::nologin" + fields + "\na=c:" + hash + "::::::" + fields + "\n"
}

// login logs in with a client of another project.
func (w *world) scram(t *testing.T, mech, user, password, authzid string, binding scram.ChannelBinding, info dovecotauth.AuthInfo) (dovecotauth.Login, error) {
	t.Helper()
	function := scram.SHA256
	if strings.HasPrefix(mech, "SCRAM-SHA-1") {
		function = scram.SHA1
	}
	client, err := function.NewClient(user, password, authzid)
	if err != nil {
		t.Fatal(err)
	}
	conversation := client.NewConversation()
	if binding.IsSupported() {
		conversation = client.NewConversationWithChannelBinding(binding)
	}
	first, err := conversation.Step("")
	if err != nil {
		t.Fatal(err)
	}
	login, err := w.auth.Exchange(t.Context(), "imap", mech, []byte(first), info, func(challenge []byte) ([]byte, error) {
		next, err := conversation.Step(string(challenge))
		return []byte(next), err
	})
	if err == nil && !conversation.Valid() {
		t.Errorf("%s %s: the server did not prove itself", mech, user)
	}
	return login, err
}

func TestSCRAMWithAForeignClient(t *testing.T) {
	w := start(t, map[string]string{"default-domain": "example.org", "auth-failure-delay": "0s"}, scramUsers(t))
	none := scram.ChannelBinding{}
	for _, c := range []struct {
		mech, user, password, authzid string
		code                          int
		reason                        string
	}{
		{"SCRAM-SHA-256", "alice", canary, "", 0, ""},
		{"SCRAM-SHA-1", "alice@example.org", canary, "", 0, ""},
		{"SCRAM-SHA-256", "ALICE", canary, "alice@example.org", 0, ""},
		{"SCRAM-SHA-1", "bob", canary, "", 0, ""},
		{"SCRAM-SHA-256", "carol", canary, "", 0, ""},
		{"SCRAM-SHA-1", "carol", canary, "", 0, ""},
		{"SCRAM-SHA-256", "a=c", canary, "", 0, ""},
		{"SCRAM-SHA-256", "alice", "wrong", "", 535, "password"},
		{"SCRAM-SHA-256", "mallory", canary, "", 535, "unknown-user"},
		{"SCRAM-SHA-256", "dave", canary, "", 535, "no-keys"},
		{"SCRAM-SHA-256", "bob", canary, "", 535, "no-keys"},
		{"SCRAM-SHA-256", "fred", canary, "", 535, "disabled"},
		{"SCRAM-SHA-256", "fred", "wrong", "", 535, "password"},
		{"SCRAM-SHA-256", "alice", canary, "carol", 535, "authzid"},
		{"SCRAM-SHA-256", "eve", canary, "", 454, ""},
	} {
		before := w.logged("reason=" + c.reason)
		login, err := w.scram(t, c.mech, c.user, c.password, c.authzid, none, dovecotauth.AuthInfo{})
		code := 0
		if err != nil {
			code = status.Of(err).Code
		}
		if code != c.code || code == 0 && !strings.HasSuffix(login.User, "@example.org") {
			t.Errorf("%s %s %s = %q, %v; want %d", c.mech, c.user, c.authzid, login.User, err, c.code)
		}
		if c.reason != "" && w.logged("reason="+c.reason) != before+1 {
			t.Errorf("%s %s: no reason=%s in the log", c.mech, c.user, c.reason)
		}
	}
}

func TestSCRAMChannelBinding(t *testing.T) {
	w := start(t, map[string]string{"default-domain": "example.org", "auth-failure-delay": "0s"}, scramUsers(t))
	exporter := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: []byte("exported")}
	point := scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: []byte("certificate")}
	other := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: []byte("another connection")}
	unique := scram.NewTLSUniqueBinding([]byte("finished"))
	ours := dovecotauth.AuthInfo{Secured: true, Bindings: map[string][]byte{dovecotauth.TLSExporter: []byte("exported"), dovecotauth.TLSServerEndPoint: []byte("certificate")}}
	for i, c := range []struct {
		mech    string
		binding scram.ChannelBinding
		info    dovecotauth.AuthInfo
		good    bool
	}{
		{"SCRAM-SHA-256-PLUS", exporter, ours, true}, {"SCRAM-SHA-1-PLUS", exporter, ours, true}, {"SCRAM-SHA-256-PLUS", point, ours, true},
		{"SCRAM-SHA-256", scram.ChannelBinding{}, ours, true}, {"SCRAM-SHA-256-PLUS", other, ours, false}, {"SCRAM-SHA-256-PLUS", unique, ours, false},
		{"SCRAM-SHA-256-PLUS", exporter, dovecotauth.AuthInfo{}, false}, {"SCRAM-SHA-256-PLUS", scram.ChannelBinding{}, ours, false},
		{"SCRAM-SHA-256", exporter, ours, false},
	} {
		_, err := w.scram(t, c.mech, "alice", canary, "", c.binding, c.info)
		if (err == nil) != c.good {
			t.Errorf("case %d, %s with %s: %v", i, c.mech, c.binding.Type, err)
		}
	}
	// A client that could bind but was told that we cannot.
	lied := func(info dovecotauth.AuthInfo) string {
		_, err := w.auth.Exchange(t.Context(), "imap", "SCRAM-SHA-256", []byte("y,,n=alice,r=abc"), info, func(challenge []byte) ([]byte, error) {
			return nil, fmt.Errorf("challenged")
		})
		return err.Error()
	}
	if got := lied(ours); got == "challenged" || w.logged("reason=channel-binding") == 0 {
		t.Errorf("a client to which our offer was hidden: %s", got)
	}
	if got := lied(dovecotauth.AuthInfo{}); got != "challenged" {
		t.Errorf("a client of a server without channel binding: %s", got)
	}
}

// firstMessage returns the server's first message for a user.
func (w *world) firstMessage(t *testing.T, user string) string {
	t.Helper()
	var message string
	w.auth.Exchange(t.Context(), "imap", "SCRAM-SHA-256", []byte("n,,n="+user+",r=abc"), dovecotauth.AuthInfo{}, func(challenge []byte) ([]byte, error) {
		message = string(challenge)
		return nil, fmt.Errorf("enough")
	})
	_, rest, _ := strings.Cut(message, ",")
	return rest
}

// An account that does not exist has a salt like any other, today and after a
// restart, and another one than its neighbour.
func TestSCRAMInventsSalts(t *testing.T) {
	w := start(t, map[string]string{"default-domain": "example.org"}, scramUsers(t))
	alice, nobody, other, dave := w.firstMessage(t, "alice"), w.firstMessage(t, "nobody"), w.firstMessage(t, "nobody2"), w.firstMessage(t, "dave")
	if len(alice) != len(nobody) || nobody == other || nobody != w.firstMessage(t, "NOBODY") || dave != w.firstMessage(t, "dave") {
		t.Errorf("alice %s, nobody %s, nobody2 %s, dave %s", alice, nobody, other, dave)
	}
	dir := t.TempDir()
	o := Options{Disk: &commit.Disk{}}
	first := secret(dir, o)
	if again := secret(dir, o); string(again) != string(first) {
		t.Error("the secret does not outlive a restart")
	}
	if info, err := os.Stat(filepath.Join(dir, "salt-secret")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret's file: %v, %v", info, err)
	}
	os.WriteFile(filepath.Join(dir, "salt-secret"), []byte("torn"), 0o600)
	if again := secret(dir, o); len(again) != secretSize {
		t.Errorf("a torn secret was taken: %d octets", len(again))
	}
}

func TestSCRAMMessages(t *testing.T) {
	w := start(t, map[string]string{"default-domain": "example.org", "auth-failure-delay": "0s"}, scramUsers(t))
	for _, first := range []string{"", "n", "n,,", "n,,n=alice", "n,,n=alice,r=", "n,,n=,r=abc", "n,,r=abc,n=alice", "x,,n=alice,r=abc", "n,,m=x,n=alice,r=abc",
		"n,,n=al=ice,r=abc", "n,,n=alice,r=a\x7fb", "n,alice,n=alice,r=abc", "n,,n=alice\x00,r=abc", "p=,,n=alice,r=abc", "p=a b,,n=alice,r=abc", "n,,n=\xff,r=abc",
		"n,,n=alice,r=" + strings.Repeat("x", 513), "n,,n=" + strings.Repeat("x", 3000) + ",r=abc"} {
		_, err := w.auth.Exchange(t.Context(), "imap", "SCRAM-SHA-256", []byte(first), dovecotauth.AuthInfo{}, func([]byte) ([]byte, error) { return nil, fmt.Errorf("challenged") })
		if status.Of(err).Code != 535 {
			t.Errorf("%.30q: %v", first, err)
		}
	}
	for _, final := range []string{"", "c=biws", "c=biws,r=NONCE", "c=biws,r=NONCE,p=", "c=biws,r=NONCE,p=!", "c=biws,r=other,p=AAAA", "c=,r=NONCE,p=AAAA", "c=biws,p=AAAA", "r=NONCE,c=biws,p=AAAA", "c=biws,r=NONCE,p=" + strings.Repeat("A", 3000)} {
		before := w.logged("event=auth-failed")
		_, err := w.auth.Exchange(t.Context(), "imap", "SCRAM-SHA-256", []byte("n,,n=alice,r=abc"), dovecotauth.AuthInfo{}, func(challenge []byte) ([]byte, error) {
			nonce, _, _ := strings.Cut(strings.TrimPrefix(string(challenge), "r="), ",")
			return []byte(strings.ReplaceAll(final, "NONCE", nonce)), nil
		})
		if status.Of(err).Code != 535 || w.logged("event=auth-failed") != before+1 {
			t.Errorf("%.30q: %v", final, err)
		}
	}
}

func TestSCRAMFailuresCount(t *testing.T) {
	w := start(t, map[string]string{"default-domain": "example.org", "auth-failure-delay": "1s"}, scramUsers(t))
	from := dovecotauth.AuthInfo{RemoteIP: netip.MustParseAddr("192.0.2.1")}
	for range 4 {
		w.scram(t, "SCRAM-SHA-256", "alice", "wrong", "", scram.ChannelBinding{}, from)
	}
	if w.slept.Load() == 0 {
		t.Error("four failures of SCRAM cost nothing")
	}
}

func TestWhatIsOffered(t *testing.T) {
	names := func(w *world) string {
		var all []string
		for _, m := range w.s.Mechanisms() {
			all = append(all, m.Name)
		}
		return strings.Join(all, " ")
	}
	const scrams = " SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1"
	k, _ := passhash.SHA1().Make(rand.Reader, canary)
	for _, c := range []struct {
		users string
		set   map[string]string
		want  string
	}{
		{"", nil, "PLAIN LOGIN" + scrams},
		{"carol:{PLAIN}x\nnobody:\n", nil, "PLAIN LOGIN" + scrams},
		{"carol:{PLAIN}x\ndave:{SSHA}zs5Gm38h9xERdk4rzEimCMNEJGypk6hv\n", nil, "PLAIN LOGIN"},
		{"bob:{SCRAM-SHA-1}" + k.String() + "\n", map[string]string{"tls-client-certificates": "request"}, "PLAIN LOGIN SCRAM-SHA-1-PLUS SCRAM-SHA-1 EXTERNAL"},
		{"dave:{SSHA}zs5Gm38h9xERdk4rzEimCMNEJGypk6hv\n", map[string]string{"auth-mechanisms": "scram-sha-256\\nplain"}, "PLAIN SCRAM-SHA-256"},
	} {
		w := start(t, c.set, c.users)
		if got := names(w); got != c.want {
			t.Errorf("%.20q %v: %s, want %s", c.users, c.set, got, c.want)
		}
	}
	w := start(t, map[string]string{"auth-mechanisms": "SCRAM-SHA-256"}, users)
	if w.plain(t, "\x00alice@example.org\x00"+canary, "") != 535 || w.logged("reason=mechanism") != 1 {
		t.Error("PLAIN is not among auth-mechanisms and lets alice in")
	}
}

func TestExternal(t *testing.T) {
	w := start(t, map[string]string{"default-domain": "example.org", "auth-failure-delay": "0s", "tls-client-certificates": "request"}, users)
	one, two := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("certificates", "zoe@example.org sha256="+two+"\nghost@example.org name=ghost\n")
	put("domains/example.org/certificates", "alice sha256="+one+"\nzoe subject=CN=zoe,O=x\nalice name=shared\nzoe name=shared\nblocked name=blocked\n")
	cert := func(print, subject, name string, verified bool) *dovecotauth.Certificate {
		return &dovecotauth.Certificate{SHA256: print, Subject: subject, Name: name, Verified: verified}
	}
	for i, c := range []struct {
		cert    *dovecotauth.Certificate
		authzid string
		user    string // "" = refused
		reason  string
	}{
		{cert(one, "", "", false), "", "alice@example.org", ""},
		{cert(one, "", "", false), "alice", "alice@example.org", ""},
		{cert(strings.ToUpper(one), "", "", false), "", "alice@example.org", ""},
		{cert(two, "", "", false), "", "zoe@example.org", ""},
		{cert("", "CN=zoe,O=x", "", true), "", "zoe@example.org", ""},
		{cert("", "", "shared", true), "zoe", "zoe@example.org", ""},
		{cert("", "", "Shared", true), "alice@example.org", "alice@example.org", ""},
		{cert("", "", "shared", true), "", "", "certificate"},
		{cert("ff", "CN=zoe,O=x", "shared", false), "zoe", "", "certificate"},
		{cert(one, "", "", false), "zoe", "", "certificate"},
		{cert(one, "", "", false), "a\x00b", "", "malformed"},
		{cert("", "", "ghost", true), "", "", "unknown-user"},
		{cert("", "", "blocked", true), "", "", "disabled"},
		{nil, "alice", "", "certificate"},
	} {
		before := w.logged("reason=" + c.reason)
		login, err := w.auth.Authenticate(t.Context(), "imap", "EXTERNAL", []byte(c.authzid), dovecotauth.AuthInfo{Certificate: c.cert})
		if login.User != c.user || (err == nil) != (c.user != "") {
			t.Errorf("case %d: %q, %v", i, login.User, err)
		}
		if c.reason != "" && w.logged("reason="+c.reason) != before+1 {
			t.Errorf("case %d: no reason=%s in the log", i, c.reason)
		}
	}
	login, err := w.auth.Exchange(t.Context(), "imap", "EXTERNAL", nil, dovecotauth.AuthInfo{Certificate: cert(one, "", "", false)}, func([]byte) ([]byte, error) { return []byte{}, nil })
	if err != nil || login.User != "alice@example.org" {
		t.Errorf("without an initial response: %v, %v", login, err)
	}
	w.s.Reload(load(t, w.dir, nil))
	if _, err := w.auth.Authenticate(context.Background(), "imap", "EXTERNAL", nil, dovecotauth.AuthInfo{Certificate: cert(one, "", "", false)}); err == nil {
		t.Error("EXTERNAL works although nobody asks for certificates")
	}
}

// FuzzSCRAM holds that no message of a client makes the parsers panic, and that
// what they return is within the limits and stood in the message.
func FuzzSCRAM(f *testing.F) {
	f.Add("n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL")
	f.Add("p=tls-exporter,a=x=2Cy,n=us=3Der,r=abc,x=y")
	f.Add("c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=")
	f.Fuzz(func(t *testing.T, text string) {
		if first, ok := parseFirst(text); ok {
			if first.gs2.text+first.bare != text || first.user == "" || first.nonce == "" || len(first.nonce) > maxNonce || len(text) > maxSCRAM {
				t.Fatalf("%q became %+v", text, first)
			}
		}
		if final, ok := parseFinal(text); ok {
			if final.withoutProof+",p="+base64.StdEncoding.EncodeToString(final.proof) != text || final.nonce == "" {
				t.Fatalf("%q became %+v", text, final)
			}
		}
	})
}

// A new password takes the old one's keys away: it must not open by SCRAM what
// it does not open by PLAIN.
func TestChangedPasswordsChangeTheirKeys(t *testing.T) {
	old, err := passhash.SHA256().Make(rand.Reader, canary)
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range []string{"yes", "no"} {
		w := start(t, map[string]string{"default-domain": "example.org", "auth-failure-delay": "0s", "password-change": "yes", "scram-keys": keys},
			"alice:{PLAIN}"+canary+"::::::scram_sha256="+old.String()+"\n")
		if err := w.passwd(canary, "new "+canary, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := w.scram(t, "SCRAM-SHA-256", "alice", canary, "", scram.ChannelBinding{}, dovecotauth.AuthInfo{}); err == nil {
			t.Errorf("scram-keys %s: the old password still opens the account by SCRAM", keys)
		}
		if _, err := w.scram(t, "SCRAM-SHA-256", "alice", "new "+canary, "", scram.ChannelBinding{}, dovecotauth.AuthInfo{}); (err == nil) != (keys == "yes") {
			t.Errorf("scram-keys %s: the new password by SCRAM: %v", keys, err)
		}
	}
}

func TestOldHashesAreWrittenAnew(t *testing.T) {
	const ssha = "{SSHA}zs5Gm38h9xERdk4rzEimCMNEJGypk6hv" // secret
	read := func(w *world) string {
		b, err := os.ReadFile(filepath.Join(w.dir, "domains/example.org/users"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, rehash := range []string{"no", "yes"} {
		w := start(t, map[string]string{"default-domain": "example.org", "auth-failure-delay": "0s", "auth-rehash": rehash}, "# kept\nalice:"+ssha+":1::::: userdb_x=y\nbob:"+ssha+"\n")
		if code := w.plain(t, "\x00alice\x00wrong", ""); code != 535 || !strings.Contains(read(w), "alice:"+ssha) {
			t.Fatalf("a wrong password: %d, %s", code, read(w))
		}
		for range 2 {
			if code := w.plain(t, "\x00alice\x00secret", ""); code != 0 {
				t.Fatalf("alice: %d", code)
			}
		}
		want := 0
		if rehash == "yes" {
			want = 1
		}
		text := read(w)
		if strings.HasPrefix(text, "# kept\nalice:{ARGON2ID}") != (want == 1) || !strings.HasSuffix(text, "userdb_x=y\nbob:"+ssha+"\n") || w.logged("event=password-rehashed") != want {
			t.Errorf("auth-rehash %s: %s\n%s", rehash, text, w.log)
		}
		if _, err := w.scram(t, "SCRAM-SHA-1", "alice", "secret", "", scram.ChannelBinding{}, dovecotauth.AuthInfo{}); (err == nil) != (want == 1) {
			t.Errorf("auth-rehash %s: SCRAM after it: %v", rehash, err)
		}
	}
}

// Whoever measures the time of many refusals cannot tell an account that does
// not exist from one with another password. It depends on the clock, so it runs
// when PEYK_TIMING is set.
func TestRefusalsTakeAsLong(t *testing.T) {
	if os.Getenv("PEYK_TIMING") == "" {
		t.Skip("PEYK_TIMING=1 measures times")
	}
	w := start(t, map[string]string{"default-domain": "example.org", "auth-failure-delay": "0s"}, scramUsers(t)+"fast:{SSHA}zs5Gm38h9xERdk4rzEimCMNEJGypk6hv\n")
	none := scram.ChannelBinding{}
	for name, try := range map[string]func(user string, i int){
		"PLAIN": func(user string, i int) { w.plain(t, fmt.Sprintf("\x00%s\x00wrong%d", user, i), "") },
		"SCRAM": func(user string, _ int) { w.scram(t, "SCRAM-SHA-256", user, "wrong", "", none, dovecotauth.AuthInfo{}) },
	} {
		users := []string{"nobody", "dave", "fast"}
		times := make(map[string][]float64)
		for i := range 200 { // turn by turn: what else the machine does hits all alike
			for _, user := range users {
				begin := time.Now()
				try(user, i)
				times[user] = append(times[user], float64(time.Since(begin).Microseconds()))
			}
		}
		for _, user := range users {
			slices.Sort(times[user])
			t.Logf("%s %s: quartiles %.0f %.0f %.0f µs", name, user, times[user][50], times[user][100], times[user][150])
		}
		for _, user := range users[1:] {
			if z := rankSum(times[users[0]], times[user]); math.Abs(z) > 4 {
				t.Errorf("%s: %s and %s differ, z = %.1f", name, users[0], user, z)
			}
		}
	}
}

// rankSum is the statistic of the test of Mann and Whitney, in standard
// deviations.
func rankSum(a, b []float64) float64 {
	u := 0.0
	for _, x := range a {
		for _, y := range b {
			switch {
			case x > y:
				u++
			case x == y:
				u += 0.5
			}
		}
	}
	n, m := float64(len(a)), float64(len(b))
	return (u - n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
}
