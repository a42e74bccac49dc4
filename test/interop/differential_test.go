package interop_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"peyk/test/imapwire"
	"peyk/test/sandbox"
)

// Random scripts of IMAP commands go to Dovecot and to imapd, over copies of
// one Maildir. What they answer must be the same, or a difference that
// differences_test.go explains.
//
//	PEYK_DIFFERENTIAL=10m   how long (20s)
//	PEYK_SEED=N             begin with this seed; alone: only its script
func TestDovecotAnswersAlike(t *testing.T) {
	needRoot(t)
	d := newDuel(t)
	seed, seedErr := strconv.ParseUint(os.Getenv("PEYK_SEED"), 10, 64)
	if seedErr == nil && os.Getenv("PEYK_DIFFERENTIAL") == "" {
		d.script(seed)
		return
	}
	long, err := time.ParseDuration(os.Getenv("PEYK_DIFFERENTIAL"))
	if err != nil {
		long = 20 * time.Second
	}
	end := time.Now().Add(long)
	switch {
	case os.Getenv("PEYK_DIFFERENTIAL") == "":
		seed = 1
	case seedErr != nil:
		seed = rand.Uint64N(1 << 40)
	}
	most := 1 << 30
	if os.Getenv("PEYK_DIFFERENTIAL") == "" {
		most = 60 // the same ones on every machine that is fast enough
	}
	for n := 0; time.Now().Before(end) && d.failures < 40 && n < most; n++ {
		d.script(seed + uint64(n))
	}
	t.Logf("%d scripts, %d commands", d.scripts, d.commands)
	for _, e := range explanations {
		t.Logf("%6d × %s: %s", d.explained[e.name], e.name, e.why)
	}
}

// A duel is the two servers.
type duel struct {
	t        *testing.T
	s        *sandbox.Sandbox
	dovecot  string // its address
	theirs   string // directory of Dovecot's Maildirs
	both     map[string]bool
	scripts  int
	commands int
	failures int

	explained map[string]int
}

func newDuel(t *testing.T) *duel {
	d := &duel{t: t, s: sandbox.Start(t), theirs: place(t), explained: map[string]int{}}
	os.Chown(d.theirs, owner, owner)
	port := sandbox.FreePort(t)
	d.dovecot = fmt.Sprintf("127.0.0.1:%d", port)
	dovecot(t, d.dovecot, "~/Maildir", "protocols = imap", ownUsers(d.theirs), "mail_max_userip_connections = 1000", "imap_metadata = yes",
		"mail_attribute_dict = file:%h/Maildir/dovecot-attributes", "maildir_stat_dirs = yes",
		fmt.Sprintf("service imap-login {\n  service_count = 0\n  inet_listener imap {\n    port = %d\n  }\n}", port))
	return d
}

// A side is one of the two connections, and what is known of its state.
type side struct {
	*imapwire.Client
	name     string
	validity map[string]string // what stands for each UIDVALIDITY
	alive    []int             // numbers of the messages of the selected mailbox
	next     int
	text     string // human text of the last completion
}

// script runs one script.
func (d *duel) script(seed uint64) {
	d.t.Helper()
	d.scripts++
	r := rand.New(rand.NewPCG(seed, 1))
	user := fmt.Sprintf("u%d", seed)
	ours, theirs := d.prepare(r, user)
	defer ours.Close()
	defer theirs.Close()
	g := newGenerator(r, d.both)
	var done []string
	for range 40 + r.IntN(40) {
		command := g.command()
		done = append(done, command)
		d.commands++
		a, err := ours.do(command)
		if err != nil {
			d.broken(seed, done, "imapd", err)
			return
		}
		b, err := theirs.do(command)
		if errors.Is(err, io.EOF) {
			d.t.Logf("seed %d: Dovecot died of %.200q", seed, command)
			return
		}
		if err != nil {
			d.broken(seed, done, "Dovecot", err)
			return
		}
		g.learn(command, a)
		if !d.compare(seed, done, ours, theirs, a, b) {
			return
		}
	}
}

func (d *duel) broken(seed uint64, done []string, who string, err error) {
	d.failures++
	d.t.Errorf("seed %d: %s: %v\n%s", seed, who, err, shown(done))
}

func shown(done []string) string {
	var b strings.Builder
	for _, c := range done[max(0, len(done)-25):] {
		fmt.Fprintf(&b, "  %.300q\n", c)
	}
	return b.String()
}

// compare reports whether the script may go on.
func (d *duel) compare(seed uint64, done []string, ours, theirs *side, a, b outcome) bool {
	d.t.Helper()
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	goOn, unexplained := true, 0
	texts := [2]string{ours.text, theirs.text}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if a[k] == b[k] {
			continue
		}
		diff := difference{command: done[len(done)-1], key: k, ours: a[k], theirs: b[k], a: a, b: b}
		diff.header, diff.text = ours.headerOf(k), texts[1]
		if isFound(k) {
			diff.sorted = sortedBy(ours, theirs, diff.command)
			diff.field = ours.sortFields(diff.command)
			diff.search = whyFound(ours, theirs, diff.command)
			diff.odd = ours.odd(strings.HasPrefix(diff.command, "UID "))
		}
		if e := explain(diff); e != nil {
			d.explained[e.name]++
			goOn = goOn && !e.diverges
			continue
		}
		goOn = false
		if unexplained++; unexplained <= 3 {
			d.t.Errorf("seed %d: %.500q (%s %s, %s %s)\n  %s\n  imapd   %.700s\n  Dovecot %.700s\n%s", seed, diff.command, a["tagged"], texts[0], b["tagged"], texts[1], k, a[k], b[k], shown(done))
		}
	}
	if unexplained > 0 {
		d.failures++
	}
	return goOn
}

var returning = regexp.MustCompile(`RETURN \([A-Z ]*\) `)

// sortedBy is the whole list of a SORT that has returned some of it.
func sortedBy(ours, theirs *side, command string) (lists [2]string) {
	plain := returning.ReplaceAllString(command, "")
	if plain == command || !strings.Contains(command, "SORT ") {
		return lists
	}
	for i, s := range []*side{ours, theirs} {
		if o, err := s.do(plain); err == nil {
			lists[i] = o["SORT"]
		}
	}
	return lists
}

var firstCriterion = regexp.MustCompile(`^(?:UID )?SORT (?:RETURN \([A-Z ]*\) )?\((?:REVERSE )?(SUBJECT|FROM|TO|CC)\b`)

// sortFields are the fields that a SORT looks at first, if they are text.
func (s *side) sortFields(command string) map[string]string {
	name := firstCriterion.FindStringSubmatch(command)
	if name == nil {
		return nil
	}
	a, err := s.Do("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (" + name[1] + ")])")
	if err != nil {
		return nil
	}
	fields := map[string]string{}
	for _, r := range a.Data {
		number := fmt.Sprint(r.Num)
		if uid, ok := r.Item("UID"); ok && strings.HasPrefix(command, "UID ") {
			number = uid.String()
		}
		for _, item := range r.Items {
			if strings.HasPrefix(item.Name, "BODY[") {
				fields[number] = fmt.Sprintf("%q", item.Value.Text)
			}
		}
	}
	return fields
}

// headerOf is the header of the message that a difference is about.
func (s *side) headerOf(key string) string {
	number, _, _ := strings.Cut(strings.TrimPrefix(key, "FETCH "), " ")
	if !strings.HasPrefix(key, "FETCH ") {
		return ""
	}
	a, err := s.Do("FETCH " + number + " BODY.PEEK[HEADER]")
	if err != nil {
		return ""
	}
	for _, r := range a.Data {
		if v, ok := r.Item("BODY[HEADER]"); ok {
			return v.Text
		}
	}
	return ""
}

// prepare makes the same Maildir for both and logs in.
func (d *duel) prepare(r *rand.Rand, user string) (ours, theirs *side) {
	d.t.Helper()
	if _, err := d.s.Mailctl("secret\n", "user", "add", user+"@example.test"); err != nil {
		d.t.Fatal(err)
	}
	mine := filepath.Join(filepath.Dir(filepath.Dir(d.s.Env["PEYK_MAILDIR1"])), user, "Maildir")
	other := filepath.Join(d.theirs, user, "Maildir")
	for _, root := range []string{mine, other} {
		again := rand.New(rand.NewPCG(r.Uint64(), 0))
		if root == other {
			copyTree(d.t, mine, other)
			continue
		}
		makeMaildir(d.t, root, again)
	}
	chownTree(d.t, filepath.Dir(other), owner)
	ours = d.login("imapd", d.s.Env["PEYK_IMAPS"], &tls.Config{InsecureSkipVerify: true}, user+"@example.test")
	theirs = d.login("Dovecot", d.dovecot, nil, user)
	theirs.UTF8, theirs.Loose = true, true // Dovecot names mailboxes in its texts
	if d.both == nil {
		d.both = shared(ours, theirs)
		d.t.Logf("both know %s", slices.Sorted(maps.Keys(d.both)))
	}
	return ours, theirs
}

func (d *duel) login(name, addr string, config *tls.Config, user string) *side {
	d.t.Helper()
	c, err := imapwire.Dial(addr, config, 2*time.Minute)
	if err != nil {
		d.t.Fatal(name, err)
	}
	c.NUL = true
	if a, err := c.Do("LOGIN " + user + " secret"); err != nil || a.Kind != "OK" {
		d.t.Fatalf("%s: LOGIN: %s %v", name, a.Raw, err)
	}
	return &side{Client: c, name: name, validity: map[string]string{}}
}

// shared are the capabilities that both have.
func shared(ours, theirs *side) map[string]bool {
	count := map[string]int{}
	for _, s := range []*side{ours, theirs} {
		a, err := s.Do("CAPABILITY")
		if err != nil {
			continue
		}
		for _, v := range a.Data[0].Args {
			count[v.Text]++
		}
	}
	both := map[string]bool{}
	for name, n := range count {
		if n == 2 {
			both[name] = true
		}
	}
	return both
}

// makeMaildir makes a Maildir with some mail of the corpus, UIDs and flags.
func makeMaildir(t *testing.T, root string, r *rand.Rand) {
	t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// Without this file INBOX is subscribed in imapd, and not in Dovecot.
	write(t, filepath.Join(root, "subscriptions"), "V\t2\n\n", 0o600)
	var list strings.Builder
	n := 8 + r.IntN(12)
	fmt.Fprintf(&list, "3 V1700000000 N%d G00112233445566778899aabbccddeeff\n", n+5)
	uid := 0
	for i := range n {
		uid += 1 + r.IntN(2)*r.IntN(2)
		if uid > n+4 {
			break
		}
		text := strings.ReplaceAll(string(messages()[r.IntN(len(messages()))]), "\r\n", "\n")
		when := time.Unix(1_700_000_000+int64(i)*86400+int64(r.IntN(80000)), 0)
		name := fmt.Sprintf("%d.M%dP1.host,S=%d,W=%d", when.Unix(), i, len(text), len(text)+strings.Count(text, "\n"))
		flags := ""
		for _, c := range "DFRST" {
			if r.IntN(4) == 0 {
				flags += string(c)
			}
		}
		path := filepath.Join(root, "cur", name+":2,"+flags)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		os.Chtimes(path, when, when)
		fmt.Fprintf(&list, "%d :%s\n", uid, name)
	}
	if err := os.WriteFile(filepath.Join(root, "dovecot-uidlist"), []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at := filepath.Join(to, strings.TrimPrefix(path, from))
		if e.IsDir() {
			return os.MkdirAll(at, 0o700)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(at, text, 0o600); err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return os.Chtimes(at, info.ModTime(), info.ModTime())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func chownTree(t *testing.T, root string, uid int) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	})
	if err != nil {
		t.Fatal(err)
	}
}
