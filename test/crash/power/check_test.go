package power_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"peyk/test/imapwire"
)

// A moment is when the power went: what was acknowledged by then must be
// there, what was begun by the end of it may be.
type moment struct{ from, to int64 }

// recovery is how long the queue and a session may take after a cut. The goal
// is five seconds; this leaves room for a busy machine, and is still less than
// the time after which a lock is given up.
const recovery = 60 * time.Second

// An outcome is what one check found.
type outcome struct {
	faults []string
	extra  int           // copies that a cut made
	took   time.Duration // from the start of the daemons until the queue was empty
}

func (o *outcome) fault(format string, args ...any) {
	o.faults = append(o.faults, fmt.Sprintf(format, args...))
}

// check starts the daemons on a disk that lost its power, lets them work until
// the queue is empty, and compares what is there with the books.
func (s *system) check(books []*book, m moment) (o outcome) {
	s.torn = nil
	s.rest()
	start := time.Now()
	if err := s.start("authd", "deliver", "queue-run"); err != nil {
		o.fault("the daemons do not start: %v", err)
		return o
	}
	defer s.kill()
	left := s.drain("drop/new", "queue", "hold", "drop/tmp")
	o.took = time.Since(start)
	if len(left) > 0 {
		o.fault("after %v the queue still holds %q; the log:\n%s", o.took, left, s.log())
	}
	s.scan(&o)
	s.tidy(&o)
	for _, b := range books {
		found, err := s.read(b.name)
		if err != nil {
			o.fault("%s: %v", b.name, err)
			continue
		}
		b.judge(found, m, &o)
	}
	if len(o.faults) > 0 && len(s.torn) > 0 {
		o.fault("before anything started: %s", strings.Join(s.torn, "; "))
	}
	return o
}

// rest lets time pass: ten seconds for lock files, which are believed for two,
// as no machine is back earlier; and two days for what lies in the drop's tmp.
func (s *system) rest() {
	soon, late := time.Now().Add(-10*time.Second), time.Now().Add(-48*time.Hour)
	filepath.WalkDir(s.disk, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
		case strings.HasSuffix(path, ".lock"):
			os.Chtimes(path, soon, soon)
		case d.Name() == "dovecot-uidlist":
			s.noteTail(path)
		case filepath.Dir(path) == filepath.Join(s.disk, "spool", "drop", "tmp"):
			os.Chtimes(path, late, late)
		}
		return nil
	})
}

// noteTail remembers a uidlist that ends inside a line, for the report.
func (s *system) noteTail(path string) {
	b, _ := os.ReadFile(path)
	if end := bytes.LastIndexByte(b, '\n') + 1; end < len(b) || len(b) == 0 {
		s.torn = append(s.torn, fmt.Sprintf("%s has %d octets and ends with %.80q", path, len(b), b[end:]))
	}
}

// drain waits until these parts of the queue are empty and returns what stays.
func (s *system) drain(parts ...string) (left []string) {
	for start := time.Now(); time.Since(start) < recovery; time.Sleep(2 * time.Millisecond) {
		left = nil
		for _, dir := range parts {
			found, _ := filepath.Glob(filepath.Join(s.disk, "spool", dir, "*"))
			left = append(left, found...)
		}
		if len(left) == 0 {
			return nil
		}
	}
	return left
}

// scan reads the files themselves: each that is visible is whole.
func (s *system) scan(o *outcome) {
	filepath.WalkDir(filepath.Join(s.disk, "mail"), func(path string, d fs.DirEntry, err error) error {
		dir := filepath.Base(filepath.Dir(path))
		if err != nil || d.IsDir() || dir != "new" && dir != "cur" {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil {
			_, err = read(string(b))
		}
		if err != nil {
			o.fault("%s: %v", path, err)
		}
		return nil
	})
}

// known are the files that may be on the disk when the queue is empty. What
// lies in the tmp/ of a Maildir, and the temporary names, are swept by imapd 36
// hours later, by a clock that nobody can set (TestSweepRemovesWhatACrashLeft);
// corrupt/ keeps what was torn and not acknowledged.
var known = regexp.MustCompile(`^(control/(hostname|certs/default/(fullchain|privkey)\.pem|domains/(\.lock|example\.test/(users|aliases|\.(users|aliases)\.new)))` +
	`|spool/(lock|corrupt/[^/]+)|lost\+found` +
	`|mail/example\.test/[a-z0-9]+/Maildir/((\.[^/]+/)?([^/]+\.lock|dovecot-(uidlist|keywords)(\.tmp)?|dovecot-uidvalidity(\.[0-9a-f]{8})?|subscriptions|maildirfolder|maildirsize|peyk-[a-z]+|peyk-(cache|changes|facts)\.[0-9]+\.M[^/]+|\..+\.[0-9]+\.[0-9]+\.tmp)|(\.[^/]+/)?(cur|new)/[^/]+|(\.[^/]+/)?tmp/.+))$`)

// tidy looks for files that nobody would ever remove.
func (s *system) tidy(o *outcome) {
	filepath.WalkDir(s.disk, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(s.disk, path)
		if err == nil && !d.IsDir() && !known.MatchString(name) {
			o.fault("%s stays behind", name)
		}
		return nil
	})
}

// An inventory is what an account really holds.
type inventory struct {
	state
	validity map[string]uint64
	next     map[string]uint32 // UIDNEXT
}

// read asks imapd.
func (s *system) read(account string) (*inventory, error) {
	if _, err := os.Stat(s.maildir(account)); errors.Is(err, os.ErrNotExist) {
		return &inventory{newState(), nil, nil}, nil
	}
	conn, cmd, err := s.session("imapd", "-preauth", s.maildir(account))
	if err != nil {
		return nil, err
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	defer conn.Close()
	c, err := imapwire.New(conn, recovery)
	if err != nil {
		return nil, err
	}
	found := &inventory{newState(), map[string]uint64{}, map[string]uint32{}}
	a, err := c.Do(`LIST "" "*" RETURN (SUBSCRIBED)`)
	if err != nil {
		return nil, err
	}
	for _, r := range a.Data {
		name := r.Args[2].Text
		attributes := strings.ToLower(r.Args[0].String())
		if strings.Contains(attributes, `\subscribed`) {
			found.subs[name] = true
		}
		if !strings.Contains(attributes, `\nonexistent`) {
			found.folders[name] = true
		}
	}
	for folder := range found.folders {
		if err := found.folder(c, folder); err != nil {
			return nil, err
		}
	}
	return found, found.goesOn(c)
}

// goesOn holds that work goes on: no lock of the dead is in the way, and new
// messages get new UIDs.
func (f *inventory) goesOn(c *imapwire.Client) error {
	for folder, next := range f.next {
		a, err := c.Do("APPEND " + folder + " " + imapwire.Lit("Subject: after\r\n\r\n"))
		if err != nil || a.Code != "APPENDUID" || uint32(a.CodeArgs[1].Num()) < next {
			return fmt.Errorf("APPEND to %s with UIDNEXT %d: %v %v", folder, next, err, a)
		}
	}
	a, err := c.Do("SUBSCRIBE INBOX")
	if err != nil || a.Kind != "OK" {
		return fmt.Errorf("SUBSCRIBE: %v %v", err, a)
	}
	return nil
}

func (f *inventory) folder(c *imapwire.Client, folder string) error {
	a, err := c.Do("SELECT " + folder)
	if err != nil || a.Kind != "OK" {
		return fmt.Errorf("cannot select %s: %v %v", folder, err, a)
	}
	for _, r := range a.Data {
		switch r.Code {
		case "UIDVALIDITY":
			f.validity[folder] = r.CodeArgs[0].Num()
		case "UIDNEXT":
			f.next[folder] = uint32(r.CodeArgs[0].Num())
		}
	}
	a, err = c.Do("UID FETCH 1:* (FLAGS BODY.PEEK[])")
	if err != nil || a.Kind != "OK" {
		return fmt.Errorf("cannot fetch %s: %v %v", folder, err, a)
	}
	for _, r := range a.Data {
		body, ok := r.Item("BODY[]")
		if !ok {
			continue
		}
		id, err := read(body.Text)
		if err != nil {
			return fmt.Errorf("%s: %w", folder, err)
		}
		uid, _ := r.Item("UID")
		f.letters[place{folder, uint32(uid.Num())}] = letter{id, flagsOf(r)}
	}
	return nil
}

// judge compares an inventory with the book. More than one op may be undecided
// when the moment was not a sharp one; any prefix of them may have been done,
// and the one behind it in part.
func (b *book) judge(found *inventory, m moment, o *outcome) {
	b.judgeUIDs(found, m, o)
	done := 0
	for done < len(b.ops) && b.ops[done].end <= m.from {
		done++
	}
	expected := newState()
	for _, op := range b.ops[:done] {
		op.apply(expected)
	}
	var best *outcome
	for {
		var open *op
		if done < len(b.ops) && b.ops[done].begin <= m.to {
			open = b.ops[done]
		}
		try := new(outcome)
		b.compare(found, expected, done, open, m, try)
		if best == nil || len(try.faults) < len(best.faults) {
			best = try
		}
		if len(best.faults) == 0 || open == nil || open.end == never {
			break
		}
		open.apply(expected)
		done++
	}
	o.faults, o.extra = append(o.faults, best.faults...), o.extra+best.extra
}

// judgeUIDs holds that what was told of a UID stays true.
func (b *book) judgeUIDs(found *inventory, m moment, o *outcome) {
	for _, t := range b.tells {
		if t.at > m.from {
			continue
		}
		if v := found.validity[t.folder]; v != 0 && v != b.validity[t.folder] {
			o.fault("%s %s: UIDVALIDITY %d, and was %d", b.name, t.folder, v, b.validity[t.folder])
			return
		}
		if l, ok := found.letters[t.place]; ok && l.id != t.id {
			o.fault("%s: UID %d of %s is %s, and was %s", b.name, t.uid, t.folder, l.id, t.id)
		}
		if next, ok := found.next[t.folder]; ok && next <= t.uid {
			o.fault("%s: UIDNEXT of %s is %d, and %d was given away", b.name, t.folder, next, t.uid)
		}
	}
}

// compare holds an inventory against what is expected after so many ops, where
// open may have been done too, in part or not at all.
func (b *book) compare(found *inventory, expected state, done int, open *op, m moment, o *outcome) {
	rest := found.clone()
	var moved []string // what open took away from its old place
	for p, want := range expected.letters {
		have, ok := found.letters[p]
		delete(rest.letters, p)
		switch {
		case !ok && open != nil && slices.Contains(open.drop, p):
			moved = append(moved, want.id)
		case !ok:
			o.fault("%s: %s is not at UID %d of %s any more", b.name, want.id, p.uid, p.folder)
		case have.id != want.id:
			o.fault("%s: UID %d of %s is %s, expected %s", b.name, p.uid, p.folder, have.id, want.id)
		case have.flags != want.flags && !(open != nil && open.put[p].flags == have.flags):
			o.fault("%s: flags of %s, UID %d of %s, are %q, expected %q", b.name, want.id, p.uid, p.folder, have.flags, want.flags)
		}
	}
	b.compareNames(found, expected, open, o)
	if open != nil {
		arrivedInPart(rest.letters, open, moved, b.name, o)
	}
	b.compareDeliveries(rest.letters, b.learned(done), m, o)
	for p, l := range rest.letters {
		o.fault("%s: %s at UID %d of %s is not expected there", b.name, l.id, p.uid, p.folder)
	}
}

func (b *book) compareNames(found *inventory, expected state, open *op, o *outcome) {
	for f := range expected.folders {
		if !found.folders[f] {
			o.fault("%s: the folder %s is gone", b.name, f)
		}
	}
	for f := range found.folders {
		if !expected.folders[f] && (open == nil || open.folder != f) {
			o.fault("%s: the folder %s is not expected", b.name, f)
		}
	}
	for f := range expected.subs {
		if !found.subs[f] {
			o.fault("%s: the subscription of %s is gone", b.name, f)
		}
	}
}

// arrivedInPart takes out of rest what open brought. What it took away from
// its old place must be at the new one, if it has a new one.
func arrivedInPart(rest map[place]letter, open *op, moved []string, name string, o *outcome) {
	there := map[string]bool{}
	for _, a := range open.put2 {
		for p, l := range rest {
			if p.folder == a.folder && l.id == a.id {
				if l.flags != a.flags {
					o.fault("%s: %s arrived with the flags %q, expected %q", name, l.id, l.flags, a.flags)
				}
				there[l.id] = true
				delete(rest, p)
				break
			}
		}
	}
	for _, id := range moved {
		if len(open.put2) > 0 && !there[id] {
			o.fault("%s: %s lost %s", name, open.what, id)
		}
	}
}

// learned returns the ids that were learned by so many ops.
func (b *book) learned(done int) map[string]bool {
	ids := map[string]bool{}
	for _, op := range b.ops[:done] {
		if id, ok := strings.CutPrefix(op.what, "learn "); ok {
			ids[id] = true
		}
	}
	return ids
}

// compareDeliveries takes out of rest what was delivered and not learned yet.
func (b *book) compareDeliveries(rest map[place]letter, learned map[string]bool, m moment, o *outcome) {
	for _, d := range b.deliveries {
		if d.begin > m.to {
			continue
		}
		var at []place
		for p, l := range rest {
			if p.folder == "INBOX" && l.id == d.id {
				at = append(at, p)
			}
		}
		for _, p := range at {
			delete(rest, p)
		}
		most := 1 + d.copies
		if learned[d.id] {
			most--
		}
		switch {
		case d.end <= m.from && len(at) == 0 && !learned[d.id]:
			o.fault("%s: %s was acknowledged and is lost", b.name, d.id)
		case len(at) > most:
			o.fault("%s: %s came %d times", b.name, d.id, len(at))
		}
		o.extra += max(0, len(at)-most+d.copies)
	}
}
