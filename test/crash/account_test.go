package crash_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"peyk/test/imapwire"
)

// A message is what a reader sees of one.
type message struct {
	uid   uint64
	body  string // the start of its hash
	flags string // sorted
}

// A folder is what a reader sees of one.
type folder struct {
	validity, next uint64
	messages       []message // by UID
	more           string    // rights, metadata
}

// An account is what a reader sees of all of it.
type account struct {
	folders    map[string]folder
	subscribed string
	more       string // quota
}

// look reads an account by an imapd of its own.
func (w *world) look(maildir string) (a account, err error) {
	conn, theirs := w.socketpair()
	defer conn.Close()
	log := w.logFile()
	defer log.Close()
	cmd := w.command("imapd", "-preauth", maildir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, log
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return a, err
	}
	defer cmd.Wait()
	c, err := imapwire.New(conn, patience)
	if err != nil {
		cmd.Process.Kill()
		return a, err
	}
	defer c.Do("LOGOUT")
	return dump(c)
}

// ask sends a command that must be answered with OK.
func ask(c *imapwire.Client, command string) (*imapwire.Answer, error) {
	a, err := c.Do(command)
	if err == nil && a.Kind != "OK" {
		err = fmt.Errorf("%s: %s", command, a.Raw)
	}
	return a, err
}

func dump(c *imapwire.Client) (account, error) {
	a := account{folders: map[string]folder{}}
	list, err := ask(c, `LIST "" * RETURN (SUBSCRIBED SPECIAL-USE)`)
	if err != nil {
		return a, err
	}
	var names []string
	for _, r := range list.Data {
		name := r.Args[2].Text
		attributes := strings.ToLower(string(r.Raw))
		if !strings.Contains(attributes, `\nonexistent`) && !strings.Contains(attributes, `\noselect`) {
			names = append(names, name)
		}
		if strings.Contains(strings.ToLower(string(r.Raw)), `\subscribed`) {
			a.subscribed += name + " "
		}
	}
	for _, name := range names {
		f, err := dumpFolder(c, name)
		if err != nil {
			return a, err
		}
		a.folders[name] = f
	}
	quota, err := c.Do("GETQUOTAROOT INBOX")
	if err == nil && quota.Kind == "OK" {
		for _, r := range quota.Data {
			a.more += string(r.Raw)
		}
	}
	return a, err
}

func dumpFolder(c *imapwire.Client, name string) (f folder, err error) {
	opened, err := ask(c, "EXAMINE "+imapwire.Quote(name))
	if err != nil {
		return f, err
	}
	for _, r := range append(opened.Data, opened.Response) {
		switch r.Code {
		case "UIDVALIDITY":
			f.validity = r.CodeArgs[0].Num()
		case "UIDNEXT":
			f.next = r.CodeArgs[0].Num()
		}
	}
	mail, err := ask(c, "UID FETCH 1:* (UID FLAGS BODY.PEEK[])")
	if err != nil {
		return f, err
	}
	for _, r := range mail.Data {
		if r.Kind == "FETCH" {
			f.messages = append(f.messages, messageOf(r))
		}
	}
	acl, err := ask(c, "GETACL "+imapwire.Quote(name))
	if err != nil {
		return f, err
	}
	meta, err := ask(c, "GETMETADATA "+imapwire.Quote(name)+" (DEPTH infinity) (/private /shared)")
	for _, r := range append(acl.Data, meta.Data...) {
		f.more += string(r.Raw)
	}
	return f, err
}

func messageOf(r *imapwire.Response) message {
	uid, _ := r.Item("UID")
	flags, _ := r.Item("FLAGS")
	body, _ := r.Item("BODY[]")
	var words []string
	for _, v := range flags.List {
		if v.Text != `\Recent` {
			words = append(words, v.Text)
		}
	}
	slices.Sort(words)
	return message{uid.Num(), hash(body.Text), strings.Join(words, " ")}
}

func hash(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:12] }

// bodies counts each message in all folders.
func (a account) bodies() map[string]int {
	count := map[string]int{}
	for _, f := range a.folders {
		for _, m := range f.messages {
			count[m.body]++
		}
	}
	return count
}

// at returns the message of a UID.
func (f folder) at(uid uint64) (message, bool) {
	i := slices.IndexFunc(f.messages, func(m message) bool { return m.uid == uid })
	if i < 0 {
		return message{}, false
	}
	return f.messages[i], true
}

// A comparison is how an account may differ from what it was and from what it
// should become.
type comparison struct {
	before, after account
	done          bool // the command was acknowledged: everything is as after
	killed        bool // one more copy of a message may be there
	atomic        bool // without an acknowledgement there is none of the new messages
}

// judge reports what is wrong with an account.
func (c comparison) judge(got account, problem func(string, ...any)) {
	for name, was := range c.before.folders {
		c.judgeFolder(name, was, got, problem)
	}
	for name := range c.after.folders {
		if _, there := got.folders[name]; !there && c.done {
			problem("the folder %s is not there", name)
		}
	}
	for name := range got.folders {
		_, was := c.before.folders[name]
		_, is := c.after.folders[name]
		if !is && (!was || c.done) {
			problem("the folder %s is there", name)
		}
	}
	if c.done {
		c.judgeDone(got, problem)
	}
	c.judgeCopies(got, problem)
	c.judgeWords("subscriptions", c.before.subscribed, c.after.subscribed, got.subscribed, problem)
	if c.done && got.more != c.after.more {
		problem("quota %q, want %q", got.more, c.after.more)
	}
}

// judgeFolder looks at a folder that was there before.
func (c comparison) judgeFolder(name string, was folder, got account, problem func(string, ...any)) {
	is, there := got.folders[name]
	after, remains := c.after.folders[name]
	if !there {
		if remains {
			problem("the folder %s is gone", name)
		}
		return
	}
	if is.validity != was.validity && (!remains || after.validity == was.validity) {
		problem("%s: UIDVALIDITY %d, was %d", name, is.validity, was.validity)
		return
	}
	if is.next < was.next {
		problem("%s: UIDNEXT %d, was %d", name, is.next, was.next)
	}
	for _, old := range was.messages {
		now, there := is.at(old.uid)
		then, stays := after.at(old.uid)
		switch {
		case !there && (stays && remains):
			problem("%s: UID %d is gone", name, old.uid)
		case !there:
		case now.body != old.body:
			problem("%s: UID %d is another message", name, old.uid)
		case c.done && !stays:
			problem("%s: UID %d is still there", name, old.uid)
		case c.done && now.flags != then.flags:
			problem("%s: UID %d has (%s), want (%s)", name, old.uid, now.flags, then.flags)
		case !stays && now.flags != old.flags:
			problem("%s: UID %d has (%s), had (%s)", name, old.uid, now.flags, old.flags)
		default:
			c.judgeWords(fmt.Sprintf("%s: UID %d: flags", name, old.uid), old.flags, then.flags, now.flags, problem)
		}
	}
	if is.more != was.more && is.more != after.more || c.done && is.more != after.more {
		problem("%s: %q, was %q, becomes %q", name, is.more, was.more, after.more)
	}
}

// judgeDone looks at the messages that are new: those of after, with UIDs that
// nothing had before.
func (c comparison) judgeDone(got account, problem func(string, ...any)) {
	for name, want := range c.after.folders {
		was := c.before.folders[name]
		fresh := func(f folder) (all []string) {
			for _, m := range f.messages {
				if _, old := was.at(m.uid); !old {
					all = append(all, m.body+" ("+m.flags+")")
					if m.uid < was.next {
						problem("%s: the new message has UID %d of %d", name, m.uid, was.next)
					}
				}
			}
			slices.Sort(all)
			return all
		}
		is, should := fresh(got.folders[name]), fresh(want)
		if c.killed {
			is, should = slices.Compact(is), slices.Compact(should) // the number is looked at elsewhere
		}
		if !slices.Equal(is, should) {
			problem("%s: new are %v, want %v", name, is, should)
		}
	}
}

// judgeCopies counts: nothing is lost, and nothing is there twice but after a
// kill.
func (c comparison) judgeCopies(got account, problem func(string, ...any)) {
	before, after, is := c.before.bodies(), c.after.bodies(), got.bodies()
	extra := 0
	for body, n := range is {
		least, most := min(before[body], after[body]), max(before[body], after[body])
		if c.atomic && !c.done && !c.killed {
			most = before[body]
		}
		if n < least {
			problem("message %s is there %d times of %d", body, n, least)
		}
		extra += max(0, n-most)
	}
	for body := range before {
		if is[body] == 0 && after[body] > 0 {
			problem("message %s is lost", body)
		}
	}
	if extra > 0 && !c.killed {
		problem("%d messages are there once more than they should", extra)
	}
}

// judgeWords: what both have is there, and what none has is not.
func (c comparison) judgeWords(what, before, after, got string, problem func(string, ...any)) {
	b, a, g := strings.Fields(before), strings.Fields(after), strings.Fields(got)
	if c.done {
		b = a
	}
	for _, word := range g {
		if !slices.Contains(a, word) && !slices.Contains(b, word) {
			problem("%s: %s is there", what, word)
		}
	}
	for _, word := range a {
		if slices.Contains(b, word) && !slices.Contains(g, word) {
			problem("%s: %s is not there", what, word)
		}
	}
}

// legal are the names that may lie in a Maildir for long (peyk-maildir(5)).
var legal = regexp.MustCompile(`^(\.[^/]+/)?(cur|new|tmp|(cur|new)/[0-9]+\.[^/]+|maildirfolder|dovecot-(uidlist|keywords|acl)|peyk-(keywords|metadata|facts|cache|changes|text)(-wal|-shm)?)$` +
	`|^(\.[^/.][^/]*|subscriptions|maildirsize|dovecot-uidvalidity(\.[0-9a-f]+)?|peyk-(quota|special-use|subscriptions|pop3\.lock|metadata-server|text[^/]*))$`)

// litter returns what lies in a Maildir and should not.
func litter(maildir string) (all []string) {
	for _, name := range listing(maildir) {
		if !legal.MatchString(name) {
			all = append(all, name)
		}
	}
	return all
}

// sweepable is what the sweepers of internal/mailbox remove 36 hours after its
// inode was changed, a time that nobody can set: its tests set their clock.
var sweepable = regexp.MustCompile(`^(\.[^/]+/)?(tmp/.+|\.[^/]+\.[0-9]+\.[0-9]+\.tmp|peyk-(cache|changes|facts|sort-[a-z]+)\.[0-9]+\.M[0-9]+P[0-9]+Q[^/]*|dovecot-uidlist\.tmp|peyk-special-use\.lock|[^/]+\.lock\.[0-9]+\.[0-9]+)$`)

// swept lets others work in a Maildir, as 40 hours later, and returns what
// nobody will ever remove.
func (w *world) swept(maildir string) ([]string, error) {
	age(maildir)
	for i, dir := range append([]string{maildir}, folders(maildir)...) { // who gives UIDs takes over a dead lock
		w.write(fmt.Sprintf("%s/new/1790000000.M%dP9.h", dir, i), "Subject: sweep\n\nSweep.\n")
	}
	if _, err := w.look(maildir); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(litter(maildir), sweepable.MatchString), nil
}

// folders returns the directories of the folders.
func folders(maildir string) []string {
	all, _ := filepath.Glob(maildir + "/.[^.]*/cur")
	for i := range all {
		all[i] = filepath.Dir(all[i])
	}
	return all
}

// fill makes a Maildir: an INBOX of n messages, with flags, and two folders.
func (w *world) fill(maildir string, n int) {
	w.Helper()
	for i := range n {
		text := fmt.Sprintf("From: a@example.net\nSubject: message %d\nMessage-ID: <%d@example.net>\n\nThe body of number %d.\n", i, i, i)
		flags := []string{"", "S", "FT", "R", "T"}[i%5]
		w.write(filepath.Join(maildir, "cur", fmt.Sprintf("%d.M%dP1.h:2,%s", 1_700_000_000+i, i, flags)), text)
	}
	for _, sub := range []string{"new", "tmp", ".Work/cur", ".Work/new", ".Work/tmp"} {
		os.MkdirAll(filepath.Join(maildir, sub), 0o700)
	}
	w.write(maildir+"/.Work/maildirfolder", "")
	w.write(maildir+"/.Work/cur/1600000000.M1P1.h:2,S", "Subject: at work\n\nWork.\n")
	w.write(maildir+"/subscriptions", "INBOX\nWork\n")
}
