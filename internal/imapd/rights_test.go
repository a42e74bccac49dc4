package imapd

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/mailbox"
)

// A speaker is a client that sees every line.
type speaker struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	n    int
}

func sharer(t *testing.T, ts *testServer, login string) *speaker {
	t.Helper()
	conn, err := ts.dial("imap")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := lineClient(t, conn)
	c.must("LOGIN " + login)
	return c
}

// lineClient takes the greeting.
func lineClient(t *testing.T, conn net.Conn) *speaker {
	t.Helper()
	c := &speaker{t: t, conn: conn, in: bufio.NewReader(conn)}
	if _, err := c.in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return c
}

// do sends a command and returns its tagged answer and all lines.
func (c *speaker) do(command string) (tagged string, lines []string) {
	c.t.Helper()
	c.n++
	tag := fmt.Sprintf("t%d ", c.n)
	if _, err := io.WriteString(c.conn, tag+command+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%s: %v after %q", command, err, lines)
		}
		line = strings.TrimRight(line, "\r\n")
		lines = append(lines, line)
		if rest, ok := strings.CutPrefix(line, tag); ok {
			return rest, lines
		}
	}
}

func (c *speaker) must(command string) []string {
	c.t.Helper()
	tagged, lines := c.do(command)
	if !strings.HasPrefix(tagged, "OK") {
		c.t.Fatalf("%s: %s", command, tagged)
	}
	return lines
}

// rightCases: which rights of RFC 4314 §4 each command takes, besides l, by
// which a mailbox may be known. @BOX is the mailbox, @TOP the one above it.
var rightCases = []struct {
	first, command, need string
	top                  string // on @TOP
	shows                string // instead of OK: a line that holds this
}{
	{command: `LIST "" @BOX`, need: "l", shows: " @BOX"},
	{command: "SELECT @BOX", need: "r"},
	{command: "EXAMINE @BOX", need: "r"},
	{command: "STATUS @BOX (MESSAGES)", need: "r"},
	{command: `LIST "" @BOX RETURN (STATUS (MESSAGES))`, need: "lr", shows: "MESSAGES 1"},
	{command: "APPEND @BOX {5+}\r\na: b\n", need: "i"},
	{first: "SELECT INBOX", command: "COPY 1 @BOX", need: "i"},
	{first: "SELECT INBOX", command: "MOVE 2 @BOX", need: "i"},
	{first: "SELECT @BOX", command: "EXPUNGE", need: "re"},
	{first: "SELECT @BOX", command: "UID EXPUNGE 1", need: "re"},
	{first: "SELECT @BOX", command: "STORE 1 +FLAGS (\\Seen)", need: "rs"},
	{first: "SELECT @BOX", command: "STORE 1 -FLAGS (\\Deleted)", need: "rt"},
	{first: "SELECT @BOX", command: "STORE 1 +FLAGS (\\Flagged)", need: "rw"},
	{first: "SELECT @BOX", command: "STORE 1 +FLAGS (word)", need: "rw"},
	{first: "SELECT @BOX", command: "STORE 1 FLAGS (\\Answered)", need: "rw"},
	{first: "SELECT @BOX", command: "FETCH 1 FLAGS", need: "r"},
	{first: "SELECT @BOX", command: "FETCH 1 (BODY[] FLAGS)", need: "rs", shows: "\\Seen"},
	{first: "SELECT @BOX", command: "SEARCH ALL", need: "r"},
	{first: "SELECT @BOX", command: "UID SEARCH RETURN (COUNT) ALL", need: "r"},
	{first: "SELECT @BOX", command: "COPY 1 INBOX", need: "r"},
	{first: "SELECT @BOX", command: "MOVE 1 INBOX", need: "rte"},
	{command: "CREATE @BOX/Sub", need: "k"},
	{command: "DELETE @BOX", need: "x"},
	{command: "RENAME @BOX @TOP/New", need: "x", top: "k"},
	{command: "GETACL @BOX", need: "a"},
	{command: "SETACL @BOX eve l", need: "a"},
	{command: "DELETEACL @BOX eve", need: "a"},
	{command: "LISTRIGHTS @BOX eve", need: "a"},
	{command: "GETMETADATA @BOX /private/comment", need: "l"},
	{command: "SETMETADATA @BOX (/private/comment \"x\")", need: "l"},
	{command: "SETMETADATA @BOX (/shared/comment \"x\")", need: "lw"},
	{command: "GETQUOTAROOT @BOX", need: "r"},
	{command: `ESEARCH IN (mailboxes @BOX) ALL`, need: "lr", shows: "MAILBOX @BOX "},
	{command: `ESEARCH IN (subtree @TOP) TEXT x`, need: "lr", shows: "MAILBOX @BOX "},
	{command: `NOTIFY SET STATUS (mailboxes @BOX (MessageNew MessageExpunge))`, need: "lr", shows: "STATUS @BOX "},
	{command: `NOTIFY SET STATUS (subtree @TOP (MessageNew MessageExpunge))`, need: "lr", shows: "STATUS @BOX "},
	{command: `LIST "" @BOX RETURN (MYRIGHTS)`, need: "l", shows: "MYRIGHTS @BOX "},
	{command: `LIST "" @BOX RETURN (METADATA (/shared/comment))`, need: "l", shows: "METADATA @BOX "},
	{command: `APPEND INBOX CATENATE (URL "/@BOX/;UID=1")`, need: "r"},
	{first: "SELECT @BOX", command: `APPEND INBOX CATENATE (URL ";UID=1/;SECTION=HEADER")`, need: "r"},
	{command: `APPEND @BOX CATENATE (TEXT {5+}` + "\r\na: b\n)", need: "i"},
	{first: "SELECT @BOX", command: "REPLACE 1 INBOX {5+}\r\na: b\n", need: "rte"},
	{first: "SELECT INBOX", command: "REPLACE 2 @BOX {5+}\r\na: b\n", need: "i"},
	{first: "SELECT @BOX", command: "UID SORT (SIZE) UTF-8 ALL", need: "r"},
	{first: "SELECT @BOX", command: "UID THREAD REFS UTF-8 ALL", need: "r"},
}

// TestEachRightIsNeeded gives bob the rights that a command takes, and then
// all rights but one of them.
func TestEachRightIsNeeded(t *testing.T) {
	ts := startServer(t, map[string]string{"imap-plaintext-login": "127.0.0.0/8"})
	for range 40 {
		ts.deliver(t, "bob", "Subject: x\n\nx\n")
	}
	alice, err := ts.host.Open(filepath.Join(ts.dir, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(alice.Close)
	bob := sharer(t, ts, `bob "pass word\"\\"`)
	n := 0
	try := func(i int, rights, top mailbox.Rights) bool {
		n++
		c := rightCases[i]
		folder := fmt.Sprintf("Top%d.Box", n)
		makeShared(t, alice, folder, rights, top)
		put := strings.NewReplacer("@BOX", strings.ReplaceAll("user/alice/"+folder, ".", "/"), "@TOP", fmt.Sprintf("user/alice/Top%d", n))
		bob.do("UNSELECT")
		if c.first != "" {
			bob.do(put.Replace(c.first))
		}
		tagged, lines := bob.do(put.Replace(c.command))
		if c.shows == "" {
			if !strings.HasPrefix(tagged, "OK") {
				t.Log(put.Replace(c.command), rights, tagged)
			}
			return strings.HasPrefix(tagged, "OK")
		}
		return strings.Contains(strings.Join(lines[:len(lines)-1], "\n"), put.Replace(c.shows))
	}
	for i, c := range rightCases {
		need, _ := mailbox.ParseRights(c.need)
		top, _ := mailbox.ParseRights(c.top)
		if !try(i, need|mailbox.RightLookup|mailbox.RightPost, top) {
			t.Errorf("%s does not work with %s", c.command, c.need)
		}
		for _, one := range strings.Split(c.need, "") {
			without, _ := mailbox.ParseRights(one)
			if try(i, mailbox.AllRights&^without, top) {
				t.Errorf("%s works without %s", c.command, one)
			}
		}
		if top != 0 && try(i, mailbox.AllRights, mailbox.AllRights&^top) {
			t.Errorf("%s works without %s above", c.command, c.top)
		}
	}
}

// makeShared makes a folder with a message, and gives bob rights on it.
func makeShared(t *testing.T, a *mailbox.Account, folder string, rights, top mailbox.Rights) {
	t.Helper()
	for name, r := range map[string]mailbox.Rights{strings.TrimSuffix(folder, ".Box"): top, folder: rights} {
		if err := a.Create(name, ""); err != nil {
			t.Fatal(err)
		}
		err := a.ChangeACL(name, func(l *mailbox.ACL) { l.Set(mailbox.ACLEntry{ID: "user=bob", Rights: r}) })
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := a.Folder(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Append(mailbox.Deleted, nil, time.Time{}, func(w io.Writer) error {
		_, err := io.WriteString(w, "Subject: x\n\nx\n")
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestFlagsThatMayNotBeCopied: RFC 4314 §4, the example of COPY and APPEND.
func TestFlagsThatMayNotBeCopied(t *testing.T) {
	ts := startServer(t, map[string]string{"imap-plaintext-login": "127.0.0.0/8"})
	alice := sharer(t, ts, "alice secret")
	for _, box := range []string{"rwis", "rsti"} {
		alice.must("CREATE " + box)
		alice.must("SETACL " + box + " bob l" + box)
	}
	bob := sharer(t, ts, `bob "pass word\"\\"`)
	for _, flags := range []string{`\Draft \Deleted`, `\Answered`, `$Forwarded \Seen`} {
		bob.must("APPEND INBOX (" + flags + ") {5+}\r\na: b\n")
	}
	for box, want := range map[string][]string{
		"rwis": {`(\Draft)`, `(\Answered)`, `(\Seen $Forwarded)`},
		"rsti": {`(\Deleted)`, `()`, `(\Seen)`},
	} {
		bob.must("SELECT INBOX")
		bob.must("COPY 1:3 user/alice/" + box)
		bob.must("APPEND user/alice/" + box + ` (\Deleted \Seen \Flagged word) {5+}` + "\r\na: b\n")
		want = append(want, map[string]string{"rwis": `(\Flagged \Seen word)`, "rsti": `(\Deleted \Seen)`}[box])
		alice.must("EXAMINE " + box)
		got := strings.ReplaceAll(strings.Join(alice.must("FETCH 1:4 FLAGS"), "\n"), `\Recent `, "")
		got = strings.ReplaceAll(strings.ReplaceAll(got, ` \Recent`, ""), `\Recent`, "")
		for i, flags := range want {
			if !strings.Contains(got, fmt.Sprintf("* %d FETCH (FLAGS %s)", i+1, flags)) {
				t.Errorf("%s: message %d has not %s: %s", box, i+1, flags, got)
			}
		}
	}
	// STORE of all flags changes those that the rights allow (RFC 4314 §4).
	bob.must("SELECT user/alice/rsti")
	lines := strings.Join(bob.must(`STORE 4 FLAGS (\Answered \Deleted)`), "\n")
	if !strings.Contains(lines, `(\Deleted)`) && !strings.Contains(lines, `(\Deleted \Recent)`) {
		t.Errorf("STORE made %s", lines)
	}
}

// TestMailboxIDSurvivesRename: RFC 8474 §4.
func TestMailboxIDSurvivesRename(t *testing.T) {
	ts := startServer(t, map[string]string{"imap-plaintext-login": "127.0.0.0/8"})
	c := sharer(t, ts, "alice secret")
	id := func(line string) string {
		_, rest, _ := strings.Cut(line, "MAILBOXID (")
		id, _, _ := strings.Cut(rest, ")")
		return id
	}
	lines := c.must("CREATE foo")
	foo := id(lines[len(lines)-1])
	c.must("RENAME foo a.b")
	if got := id(c.must("STATUS a.b (MAILBOXID)")[0]); got != foo || len(foo) < 8 {
		t.Errorf("%q was %q", got, foo)
	}
	c.must("DELETE a.b")
	lines = c.must("CREATE foo")
	if got := id(lines[len(lines)-1]); got == foo {
		t.Error("an id came back")
	}
}

// TestNobodyFillsTheListOfSharedFolders: what one user does to the file that
// all users' LIST reads stays within bounds, and a file that cannot be read
// hides nobody's own mailboxes.
func TestNobodyFillsTheListOfSharedFolders(t *testing.T) {
	ts := startServer(t, map[string]string{"imap-plaintext-login": "127.0.0.0/8"})
	account, err := ts.host.Open(filepath.Join(ts.dir, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(account.Close)
	for folder := range 2 {
		name := fmt.Sprint("f", folder)
		if err := account.Create(name, ""); err != nil {
			t.Fatal(err)
		}
		if err := account.ChangeACL(name, func(l *mailbox.ACL) {
			for i := range 500 {
				l.Set(mailbox.ACLEntry{ID: fmt.Sprintf("user=%d.%d", folder, i), Rights: mailbox.RightLookup})
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	alice, bob := sharer(t, ts, "alice secret"), sharer(t, ts, `bob "pass word\"\\"`)
	for command, want := range map[string]string{
		"SETACL INBOX one.more lr":   "NO [LIMIT] ",
		"SETACL f0 bob r":            "NO [LIMIT] ",
		"SETACL f0 0.7 lrs":          "OK ",
		"SETACL INBOX -one.more r":   "OK ",
		"SETACL INBOX one.more -lr":  "OK ",
		"SETACL INBOX one.more \"\"": "OK ",
		"DELETEACL INBOX -one.more":  "OK ",
		"SETACL INBOX alice lrswipk": "OK ",
	} {
		if tagged, _ := alice.do(command); !strings.HasPrefix(tagged, want) {
			t.Errorf("%s: %s, want %s", command, tagged, want)
		}
	}
	alice.must("DELETEACL f1 1.1")
	alice.must("SETACL f0 bob lr")
	if lines := strings.Join(bob.must(`LIST "" *`), "\n"); !strings.Contains(lines, "user/alice/f0") {
		t.Errorf("bob sees %s", lines)
	}
	if err := os.Truncate(filepath.Join(ts.dir, mailbox.SharedName), 17<<20); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Join(bob.must(`LIST "" *`), "\n"); !strings.Contains(lines, " INBOX") {
		t.Errorf("bob sees %s", lines)
	}
}

// TestRightsThatAreTakenAway: a session that hears of a mailbox, or has
// selected it, is told nothing more once its user may not read it, or not know
// of it.
func TestRightsThatAreTakenAway(t *testing.T) {
	ts := startServer(t, map[string]string{"imap-plaintext-login": "127.0.0.0/8"})
	alice, bob := sharer(t, ts, "alice secret"), sharer(t, ts, `bob "pass word\"\\"`)
	for left, hears := range map[string]bool{"lr": true, "l": false, "r": false, `""`: false} {
		box := "box" + strings.Trim(left, `"`)
		alice.must("CREATE " + box)
		alice.must("SETACL " + box + " bob lr")
		bob.must("SELECT user/alice/" + box)
		bob.must("UID SEARCH RETURN (UPDATE (BODY.PEEK[]) ALL) ALL")
		bob.must("NOTIFY SET (SELECTED (MessageNew (BODY.PEEK[]) MessageExpunge FlagChange)) (mailboxes user/alice/" + box + " (MessageNew MessageExpunge))")
		if left == "r" || left == "lr" {
			bob.must("UNSELECT")
		}
		alice.must("SETACL " + box + " bob " + left)
		alice.must("APPEND " + box + " {16+}\r\nSubject: hidden\n")
		told := strings.Join(bob.must("NOOP"), "\n")
		told += strings.Join(bob.must("NOOP"), "\n")
		if got := strings.Contains(told, "EXISTS") || strings.Contains(told, "STATUS") || strings.Contains(told, "hidden"); got != hears {
			t.Errorf("with %s left: %s", left, told)
		}
	}
}
