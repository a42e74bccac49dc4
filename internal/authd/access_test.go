package authd

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"peyk/internal/address"
	"peyk/internal/commit"
	"peyk/internal/dovecotauth"
	"peyk/internal/passhash"
	"peyk/internal/status"
	"peyk/internal/table"
	"peyk/internal/totp"
)

var alice = address.Address{Local: "alice", Domain: "example.org"}

// asking is one login as a test describes it.
type asking struct {
	service, password, code string
	asks                    bool
	ip                      string
}

func (w *world) ask(t testing.TB, a asking) (dovecotauth.Login, error) {
	t.Helper()
	info := dovecotauth.AuthInfo{Secured: true, Asks: a.asks, Code: a.code, RemoteIP: netip.MustParseAddr("192.0.2.1")}
	if a.ip != "" {
		info.RemoteIP = netip.MustParseAddr(a.ip)
	}
	return w.auth.Authenticate(context.Background(), a.service, "PLAIN", []byte("\x00alice@example.org\x00"+a.password), info)
}

// refusedFor holds that a login is refused with a plain refusal, and that the
// log tells why.
func (w *world) refusedFor(t testing.TB, a asking, reason string) {
	t.Helper()
	before := w.logged("reason=" + reason)
	_, err := w.ask(t, a)
	if err == nil || status.Of(err).Code != 535 {
		t.Errorf("%+v: %v; want a plain refusal", a, err)
	}
	if w.logged("reason="+reason) != before+1 {
		t.Errorf("%+v: the log does not say %s:\n%s", a, reason, w.log)
	}
}

func (w *world) good(t testing.TB, a asking) dovecotauth.Login {
	t.Helper()
	login, err := w.ask(t, a)
	if err != nil {
		t.Errorf("%+v: %v\n%s", a, err, w.log)
	}
	return login
}

// addApp adds an app password and returns its secret.
func (w *world) addApp(t testing.TB, p table.AppPassword) string {
	t.Helper()
	secret, err := passhash.NewSecret(rand.Reader, table.AppPasswordGroups)
	if err != nil {
		t.Fatal(err)
	}
	plain, _ := passhash.PlainSecret(secret, table.AppPasswordGroups)
	p.User, p.Created = alice, time.Unix(1e9, 0)
	if p.Rights == "" {
		p.Rights = table.Full
	}
	if p.Hash, err = passhash.MakeSalted(rand.Reader, plain); err != nil {
		t.Fatal(err)
	}
	if err := w.s.editor.AddAppPassword(p); err != nil {
		t.Fatal(err)
	}
	return secret
}

const aliceOnly = "alice:{PLAIN}" + canary + "\n"

func TestAppPasswords(t *testing.T) {
	w := start(t, map[string]string{"auth-failure-delay": "0s"}, aliceOnly)
	w.good(t, asking{service: "imap", password: canary})
	full := w.addApp(t, table.AppPassword{ID: "full", Name: "telephone"})
	for _, service := range []string{"imap", "pop3", "smtp", "xmpp"} {
		if login := w.good(t, asking{service: service, password: full}); login.Fields["peyk_app"] != "full" || login.Rights() != "" {
			t.Errorf("fields = %v", login.Fields)
		}
		w.refusedFor(t, asking{service: service, password: canary}, "second-factor")
		w.refusedFor(t, asking{service: service, password: "wrong"}, "password")
	}
	w.good(t, asking{service: "imap", password: strings.ToUpper(strings.ReplaceAll(full, "-", " "))})
	w.good(t, asking{service: "web", password: canary, asks: true})
	w.refusedFor(t, asking{service: "imap", password: canary, asks: true}, "second-factor")

	limited := w.addApp(t, table.AppPassword{ID: "few", Protocols: []string{"pop3"}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Expires: time.Unix(1e9+3600, 0)})
	w.good(t, asking{service: "pop3", password: limited})
	w.refusedFor(t, asking{service: "imap", password: limited}, "app-password-protocol")
	w.refusedFor(t, asking{service: "pop3", password: limited, ip: "198.51.100.1"}, "app-password-network")
	w.clock.Add(int64(time.Hour))
	w.refusedFor(t, asking{service: "pop3", password: limited}, "app-password-expired")
	if n := w.slept.Load(); n != 0 {
		t.Errorf("logins waited %v", time.Duration(n))
	}
	use, found, err := w.s.state.LastUse("alice@example.org", "few")
	if err != nil || !found || use.Address != "192.0.2.1" || use.Service != "pop3" || !use.Time.Equal(time.Unix(1e9, 0)) {
		t.Errorf("last use = %v %v %v", use, found, err)
	}
	if _, err := w.s.editor.RemoveAppPassword(alice, "full"); err != nil {
		t.Fatal(err)
	}
	w.refusedFor(t, asking{service: "imap", password: full}, "password")
	if strings.Contains(w.log.String(), full) || strings.Contains(w.log.String(), limited) {
		t.Errorf("the log shows an app password:\n%s", w.log)
	}
}

func TestAppPasswordRights(t *testing.T) {
	w := start(t, map[string]string{"auth-failure-delay": "0s"}, aliceOnly)
	for rights, services := range map[table.Rights]string{table.ReadOnly: "imap pop3", table.AppendOnly: "imap", table.SendOnly: "smtp submission"} {
		secret := w.addApp(t, table.AppPassword{ID: strings.ReplaceAll(string(rights), "-", ""), Rights: rights})
		for _, service := range []string{"imap", "pop3", "smtp", "submission", "sieve", "xmpp"} {
			if !strings.Contains(services, service) {
				w.refusedFor(t, asking{service: service, password: secret}, "app-password-rights")
				continue
			}
			if login := w.good(t, asking{service: service, password: secret}); string(login.Rights()) != string(rights) {
				t.Errorf("%s by %s: rights %q", rights, service, login.Rights())
			}
		}
		// A server that does not say that it obeys rights gets no login of few.
		for service, want := range map[string]bool{"imap": false, "smtp": rights == table.SendOnly} {
			v := w.s.Authenticate(context.Background(), &dovecotauth.Request{Service: service, Mech: "PLAIN", Initial: []byte("\x00alice@example.org\x00" + secret)})
			if v.OK != want {
				t.Errorf("%s for a foreign server of %s: %+v", rights, service, v)
			}
			if v.Fields["peyk_ticket"] != "" {
				t.Errorf("a foreign server got a ticket")
			}
		}
	}
}

// TestAppPasswordDoubt holds that an app-passwords file that cannot be read is
// no yes and no no.
func TestAppPasswordDoubt(t *testing.T) {
	w := start(t, nil, aliceOnly)
	path := filepath.Join(w.dir, "domains/example.org/app-passwords")
	if err := os.WriteFile(path, []byte("alice:x1:{SSHA256}!:2026-01-01:rights=all\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{canary, "abcd-efgh-abcd-efgh-abcd"} {
		if _, err := w.ask(t, asking{service: "imap", password: password}); status.Of(err).Code != 454 {
			t.Errorf("with a file that cannot be read: %v", err)
		}
	}
}

func (w *world) setFactor(t testing.TB, codes ...string) []byte {
	t.Helper()
	f := table.SecondFactor{User: alice, Secret: []byte("12345678901234567890"), Created: time.Unix(1e9, 0)}
	for _, c := range codes {
		plain, _ := passhash.PlainSecret(c, table.RecoveryGroups)
		hash, err := passhash.MakeSalted(rand.Reader, plain)
		if err != nil {
			t.Fatal(err)
		}
		f.Recovery = append(f.Recovery, hash)
	}
	if err := w.s.editor.SetSecondFactor(f); err != nil {
		t.Fatal(err)
	}
	return f.Secret
}

func (w *world) now() time.Time { return time.Unix(0, w.clock.Load()) }

func TestSecondFactor(t *testing.T) {
	w := start(t, map[string]string{"auth-failure-delay": "0s"}, aliceOnly)
	secret := w.setFactor(t, "abcd-efgh-ijkm-npqr", "bbcd-efgh-ijkm-npqr")
	app := w.addApp(t, table.AppPassword{ID: "k1"})
	for _, service := range []string{"imap", "pop3", "smtp", "sieve", "submission", "managesieve", "xmpp"} {
		w.refusedFor(t, asking{service: service, password: canary}, "second-factor")
		w.good(t, asking{service: service, password: app})
	}
	code := func(off int64) string { return totp.Code(secret, totp.Step(w.now())+off) }
	for _, service := range []string{"imap", "pop3", "smtp", "sieve"} { // whatever they say, they cannot ask
		w.refusedFor(t, asking{service: service, password: canary, asks: true, code: code(0)}, "second-factor")
	}
	web := asking{service: "web", password: canary, asks: true}
	with := func(code string) asking { a := web; a.code = code; return a }
	w.refusedFor(t, web, "second-factor-missing")
	w.refusedFor(t, with(code(-2)), "second-factor-code")
	w.good(t, with(code(-1)))
	w.refusedFor(t, with(code(-1)), "second-factor-used")
	w.good(t, with(code(1))) // the clock of the telephone is fast
	w.refusedFor(t, with(code(0)), "second-factor-used")
	w.clock.Add(int64(time.Minute))
	w.good(t, with(code(0)))

	w.good(t, with("ABCD efgh ijkm npqr"))
	w.refusedFor(t, with("abcd-efgh-ijkm-npqr"), "second-factor-used")
	w.s.Close()
	w.s.state = restarted(w)
	w.refusedFor(t, with("abcd-efgh-ijkm-npqr"), "second-factor-used")
	w.refusedFor(t, with(code(0)), "second-factor-used")
	w.good(t, with("bbcd-efgh-ijkm-npqr"))
	wrong := web
	wrong.password, wrong.code = "wrong", code(1)
	w.refusedFor(t, wrong, "password")
	w.clock.Add(int64(30 * time.Second))
	w.good(t, with(code(0))) // a wrong password uses no code up
	if strings.Contains(w.log.String(), "abcd") {
		t.Errorf("the log shows a code:\n%s", w.log)
	}
}

// TestCodesAreNotGuessed holds that each wrong code makes the next wait.
func TestCodesAreNotGuessed(t *testing.T) {
	w := start(t, map[string]string{"auth-failure-delay": "0s"}, aliceOnly)
	secret := w.setFactor(t)
	web := asking{service: "web", password: canary, asks: true, code: "abcd-efgh-ijkm-npqr"}
	for range freeCodes + 1 {
		w.refusedFor(t, web, "second-factor-code")
	}
	web.code = totp.Code(secret, totp.Step(w.now()))
	w.refusedFor(t, web, "second-factor-wait")
	w.clock.Add(int64((freeCodes + 1) * (freeCodes + 1) * time.Second))
	web.code = totp.Code(secret, totp.Step(w.now()))
	w.good(t, web)
	web.code = "000000"
	w.refusedFor(t, web, "second-factor-code")
}

// TestCodesThatCannotBeRemembered holds that without the state no code is
// good.
func TestCodesThatCannotBeRemembered(t *testing.T) {
	w := start(t, map[string]string{"auth-failure-delay": "0s", "auth-state": "/nonexistent/state"}, aliceOnly)
	secret := w.setFactor(t)
	_, err := w.ask(t, asking{service: "web", password: canary, asks: true, code: totp.Code(secret, totp.Step(w.now()))})
	if status.Of(err).Code != 454 {
		t.Errorf("a code that cannot be used up: %v", err)
	}
	app := w.addApp(t, table.AppPassword{ID: "k1"})
	w.good(t, asking{service: "imap", password: app})
	if w.logged("cannot remember the use") != 1 {
		t.Errorf("the log says nothing of the state:\n%s", w.log)
	}
}

func (w *world) writeAccess(t testing.TB, text string) {
	t.Helper()
	path := filepath.Join(w.dir, "domains/example.org/access")
	if err := new(commit.Disk).ReplaceFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAccessLimits(t *testing.T) {
	w := start(t, map[string]string{"auth-failure-delay": "0s"}, aliceOnly)
	imap, smtp := asking{service: "imap", password: canary}, asking{service: "smtp", password: canary}
	for _, c := range []struct{ line, reason string }{
		{"protocols=pop3,smtp", "protocol"}, {"networks=198.51.100.0/24", "network"}, {"hours=Su/00:00-24:00", ""},
		{"hours=Mo-Sa/00:00-24:00", "hours"}, {"login=no reason=moved%20away", "login-off"}, {"suspended=defer", "suspended"},
		{"suspended=refuse", "suspended"}, {"expires=2001-09-09", "expired"}, {"expires=2001-09-10", ""}, {"send=no", ""}, {"receive=no", ""},
		{"protocols=any networks=any hours=any suspended=no login=yes expires=never countries=any", ""},
	} {
		w.writeAccess(t, "# table\n* "+c.line+"\n")
		if c.reason == "" {
			w.good(t, imap)
			continue
		}
		w.refusedFor(t, imap, c.reason)
		if !strings.Contains(w.log.String(), "rule="+filepath.Join(w.dir, "domains/example.org/access")+":2") {
			t.Errorf("%s: the log does not name the line:\n%s", c.line, w.log)
		}
	}
	if !strings.Contains(w.log.String(), `text="moved away"`) {
		t.Errorf("the log does not say the reason:\n%s", w.log)
	}
	w.writeAccess(t, "* send=no\n")
	w.refusedFor(t, smtp, "receive-only")
	w.refusedFor(t, asking{service: "submission", password: canary}, "receive-only")
	w.writeAccess(t, "* protocols=smtp\n")
	w.good(t, asking{service: "submission", password: canary})
	w.writeAccess(t, "bob suspended=defer\nalice nonsense\n")
	if _, err := w.ask(t, imap); status.Of(err).Code != 454 {
		t.Errorf("a limit that cannot be read: %v", err)
	}
	w.writeAccess(t, "* login=no\n")
	w.refusedFor(t, asking{service: "imap", password: "wrong"}, "password") // who does not know the password learns nothing
}

func TestCountries(t *testing.T) {
	w := start(t, map[string]string{"auth-failure-delay": "0s", "country-command": "/bin/lookup -x"}, aliceOnly)
	imap := asking{service: "imap", password: canary}
	answers, asked := map[string]string{"192.0.2.1": "GeoIP: AT, Austria\n", "192.0.2.2": "??"}, 0
	var failure error
	w.s.countries.run = func(_ context.Context, argv []string) ([]byte, error) {
		asked++
		if fmt.Sprint(argv[:2]) != "[/bin/lookup -x]" {
			t.Errorf("argv = %q", argv)
		}
		return []byte(answers[argv[2]]), failure
	}
	w.good(t, imap)
	if asked != 0 {
		t.Error("the command ran although no country counts")
	}
	w.writeAccess(t, "* countries=DE,AT\n")
	w.good(t, imap)
	w.good(t, imap)
	w.refusedFor(t, asking{service: "imap", password: canary, ip: "192.0.2.2"}, "country")
	if asked != 2 {
		t.Errorf("the command ran %d times, want 2", asked)
	}
	failure = errors.New("no such program")
	if _, err := w.ask(t, asking{service: "imap", password: canary, ip: "192.0.2.3"}); status.Of(err).Code != 454 {
		t.Errorf("when nobody knows the country: %v", err)
	}
	w.clock.Add(int64(countryKept))
	if _, err := w.ask(t, imap); status.Of(err).Code != 454 {
		t.Errorf("an answer is remembered for too long: %v", err)
	}
}

// TestCountryCommand holds that the program runs without a shell, that its
// output is bounded, and that it is ended with its time.
func TestCountryCommand(t *testing.T) {
	out, err := output(context.Background(), []string{"/bin/echo", "$HOME;", "192.0.2.1"})
	if err != nil || string(out) != "$HOME; 192.0.2.1\n" {
		t.Errorf("output = %q, %v", out, err)
	}
	out, err = output(context.Background(), []string{"/usr/bin/head", "-c", "1000000", "/dev/zero"})
	if err != nil || len(out) != countryOutput {
		t.Errorf("output of %d octets, %v", len(out), err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := output(ctx, []string{"/bin/sleep", "1000"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a slow program: %v", err)
	}
	for out, want := range map[string]string{"GeoIP Country Edition: DE, Germany": "DE", `  "AT" <utf8_string>`: "AT", "": "", "IP Address not found": "IP", "de": ""} {
		if got := countryIn(out); got != want {
			t.Errorf("%q: %q, want %q", out, got, want)
		}
	}
}

func TestMailRefusal(t *testing.T) {
	w := start(t, map[string]string{"send-only-text": "write to us by the form"}, aliceOnly)
	for line, want := range map[string]string{"suspended=defer": "450 4.2.1", "suspended=refuse": "550 5.2.1", "receive=no": "550 5.2.1",
		"login=no": "", "expires=2001-01-01": "", "receive=yes suspended=no": ""} {
		w.writeAccess(t, "alice "+line+"\n")
		u, found, err := w.users.Lookup(context.Background(), "smtp", "alice@example.org")
		if err != nil || !found {
			t.Fatal(found, err)
		}
		refusal := u.MailRefusal()
		if (refusal == nil) != (want == "") || refusal != nil && !strings.HasPrefix(fmt.Sprint(status.Of(refusal).Code, " ", status.Of(refusal).Enhanced), want) {
			t.Errorf("%s: %v", line, refusal)
		}
		if line == "receive=no" && status.Of(refusal).Text != "write to us by the form" {
			t.Errorf("the sender hears %q", status.Of(refusal).Text)
		}
	}
}

// TestSecondFactorAndSCRAM holds that the main password does not open IMAP by
// SCRAM either, that the server then gives no proof that it was right, and
// that SCRAM is not offered where an app password could not be used with it.
func TestSecondFactorAndSCRAM(t *testing.T) {
	w := start(t, map[string]string{"auth-failure-delay": "0s"}, aliceOnly)
	offers := func() bool {
		return slices.ContainsFunc(w.s.Mechanisms(), func(m dovecotauth.Mechanism) bool { return strings.HasPrefix(m.Name, "SCRAM-") })
	}
	if !offers() {
		t.Error("SCRAM is not offered although everybody can use it")
	}
	login := func() error {
		client, err := scram.SHA256.NewClient("alice@example.org", canary, "")
		if err != nil {
			t.Fatal(err)
		}
		conversation := client.NewConversation()
		first, err := conversation.Step("")
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.auth.Exchange(t.Context(), "imap", "SCRAM-SHA-256", []byte(first), dovecotauth.AuthInfo{}, func(challenge []byte) ([]byte, error) {
			if bytes.HasPrefix(challenge, []byte("v=")) && w.logged("second-factor") == 0 && len(w.apps(t)) > 0 {
				t.Error("the server proves that the password is right, and refuses it then")
			}
			answer, err := conversation.Step(string(challenge))
			return []byte(answer), err
		})
		return err
	}
	if err := login(); err != nil {
		t.Errorf("SCRAM: %v\n%s", err, w.log)
	}
	w.addApp(t, table.AppPassword{ID: "k1"})
	if err := login(); code(err) != 535 || w.logged("reason=second-factor") != 1 {
		t.Errorf("SCRAM beside an app password: %v\n%s", err, w.log)
	}
	if offers() {
		t.Error("SCRAM is offered although an app password cannot be used with it")
	}
}

func (w *world) apps(t testing.TB) []table.AppPassword {
	t.Helper()
	all, err := w.s.tables.AppPasswords(alice)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
