package imapd

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A resyncClient is a client that keeps a mailbox by QRESYNC alone: it
// believes what it is told, remembers it between connections, and never asks
// for what it thinks it knows.
type resyncClient struct {
	t        *testing.T
	conn     net.Conn
	in       *bufio.Reader
	validity string
	highest  uint64            // up to which it is in step
	seen     uint64            // highest MODSEQ since the last tagged answer
	told     bool              // HIGHESTMODSEQ came since then: it counts even if it is lower
	flags    map[uint32]string // by UID
	view     []uint32          // UIDs by number, of this connection; 0 is not known yet
	next     uint32            // UIDNEXT as far as it was fetched
	tag      int
	log      []string
}

func (c *resyncClient) dial(ts *testServer) {
	conn, err := ts.dial("preauth")
	if err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.in, c.view = conn, bufio.NewReader(conn), nil
	c.line()
	c.do("ENABLE QRESYNC")
}

func (c *resyncClient) line() string {
	line, err := c.in.ReadString('\n')
	if err != nil {
		c.fail("%v after %q", err, line)
	}
	c.log = append(c.log[max(0, len(c.log)-40):], "S: "+line)
	return strings.TrimSuffix(line, "\r\n")
}

// fail shows what was said last.
func (c *resyncClient) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf(format+"\n%s", append(args, strings.Join(c.log, ""))...)
}

// do sends a command and takes in the answers.
func (c *resyncClient) do(format string, args ...any) string {
	c.tag++
	tag := "t" + strconv.Itoa(c.tag)
	c.log = append(c.log, fmt.Sprintf("C: "+tag+" "+format+"\n", args...))
	fmt.Fprintf(c.conn, tag+" "+format+"\r\n", args...)
	for {
		line := c.line()
		rest, tagged := strings.CutPrefix(line, tag+" ")
		if !tagged {
			c.take(strings.TrimPrefix(line, "* "))
			continue
		}
		c.code(rest)
		// RFC 7162 §6: only now the highest value may be believed in.
		if !c.told && c.seen > c.highest {
			c.highest = c.seen
		}
		c.told, c.seen = false, 0
		return rest
	}
}

func (c *resyncClient) code(line string) {
	if _, after, ok := strings.Cut(line, "[HIGHESTMODSEQ "); ok {
		n, _, _ := strings.Cut(after, "]")
		c.highest, _ = strconv.ParseUint(n, 10, 64)
		c.told = true
	}
	if _, after, ok := strings.Cut(line, "[UIDVALIDITY "); ok {
		c.validity, _, _ = strings.Cut(after, "]")
	}
}

// take takes in one untagged answer.
func (c *resyncClient) take(line string) {
	c.code(line)
	if rest, ok := strings.CutPrefix(line, "VANISHED "); ok {
		set, earlier := strings.CutPrefix(rest, "(EARLIER) ")
		c.vanished(set, earlier)
		return
	}
	number, rest, _ := strings.Cut(line, " ")
	n, err := strconv.Atoi(number)
	switch {
	case err != nil:
	case rest == "EXISTS":
		if n < len(c.view) {
			c.fail("%d EXISTS, of %d", n, len(c.view))
		}
		c.view = append(c.view, make([]uint32, n-len(c.view))...)
	case rest == "EXPUNGE":
		c.t.Fatal("EXPUNGE, and not VANISHED")
	case strings.HasPrefix(rest, "FETCH "):
		c.fetched(n, rest)
	}
}

func (c *resyncClient) vanished(text string, earlier bool) {
	set, err := (&parser{line: []byte(text)}).set()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, r := range set {
		for uid := r.Start; uid <= r.Stop; uid++ {
			delete(c.flags, uid)
			i := slices.Index(c.view, uid)
			if earlier && i >= 0 || !earlier && i < 0 && !slices.Contains(c.view, 0) {
				c.fail("VANISHED %s (earlier: %v) of %v", text, earlier, c.view)
			}
			if !earlier {
				if i < 0 {
					i = c.unknown(uid)
				}
				c.view = slices.Delete(c.view, i, i+1)
			}
		}
	}
}

// unknown returns where a message is of which only its number is known.
func (c *resyncClient) unknown(uid uint32) int {
	at := -1
	for i, known := range c.view {
		if known > uid {
			break
		}
		if known == 0 {
			at = i
		} else {
			at = -1
		}
	}
	if at < 0 {
		c.fail("VANISHED %d of %v", uid, c.view)
	}
	return at
}

func (c *resyncClient) fetched(n int, rest string) {
	field := func(name string) string {
		_, after, ok := strings.Cut(rest, name)
		if !ok {
			c.fail("no %sin %q", name, rest)
		}
		return after[:strings.IndexAny(after+" ", " )")]
	}
	uid, err := strconv.ParseUint(field("UID "), 10, 32)
	modSeq, err2 := strconv.ParseUint(field("MODSEQ ("), 10, 64)
	if err != nil || err2 != nil || n > len(c.view) {
		c.fail("%d %s", n, rest)
	}
	if known := c.view[n-1]; known != 0 && known != uint32(uid) {
		c.fail("message %d is %d, not %d", n, known, uid)
	}
	c.view[n-1], c.seen = uint32(uid), max(c.seen, modSeq)
	if _, after, ok := strings.Cut(rest, "FLAGS ("); ok {
		flags, _, _ := strings.Cut(after, ")")
		c.flags[uint32(uid)] = sortedFlags(flags)
	}
}

func sortedFlags(text string) string {
	words := slices.DeleteFunc(strings.Fields(text), func(w string) bool { return w == `\Recent` })
	slices.Sort(words)
	return strings.Join(words, " ")
}

// open selects the mailbox and tells what it knows; what is new it fetches.
func (c *resyncClient) open() {
	c.view = nil
	maps.DeleteFunc(c.flags, func(uid uint32, _ string) bool { return uid >= c.next }) // it does not know those before them
	if c.validity == "" {
		c.do("SELECT INBOX")
	} else {
		known := slices.Sorted(maps.Keys(c.flags))
		match := ""
		if len(known) > 0 && c.tag%2 == 0 {
			k := rand.IntN(len(known))
			match = fmt.Sprintf(" (%d %d)", k+1, known[k])
		}
		c.do("SELECT INBOX (QRESYNC (%s %d 1:%d%s))", c.validity, c.highest, max(c.next, 2)-1, match)
	}
	for i, uid := range slices.Sorted(maps.Keys(c.flags)) {
		if i >= len(c.view) || c.view[i] != 0 && c.view[i] != uid {
			c.fail("it knows %v, and the mailbox has %v", slices.Sorted(maps.Keys(c.flags)), c.view)
		}
		c.view[i] = uid
	}
	c.catchUp()
}

// catchUp fetches messages it has not seen.
func (c *resyncClient) catchUp() {
	c.do("UID FETCH %d:* (FLAGS MODSEQ)", max(c.next, 1))
	if n := len(c.view); n > 0 {
		c.next = max(c.next, c.view[n-1]+1)
	}
}

// check compares with a client that begins anew.
func (c *resyncClient) check(ts *testServer, after string) {
	c.do("NOOP")
	c.catchUp()
	fresh := &resyncClient{t: c.t, flags: make(map[uint32]string)}
	fresh.dial(ts)
	defer fresh.conn.Close()
	fresh.open()
	if !maps.Equal(c.flags, fresh.flags) {
		c.fail("after %s the client has %v, of %v", after, c.flags, fresh.flags)
	}
	if len(c.view) != len(fresh.view) {
		c.fail("after %s the client counts %d messages of %d", after, len(c.view), len(fresh.view))
	}
}

// TestResyncOracle: a client that only follows what it is told always has what
// a new one gets, whatever other sessions, deliveries, other programs and
// restarts of the server do.
func TestResyncOracle(t *testing.T) {
	ts := startServer(t, nil)
	c := &resyncClient{t: t, flags: make(map[uint32]string)}
	other := &resyncClient{t: t, flags: make(map[uint32]string)}
	other.dial(ts)
	other.open()
	c.dial(ts)
	c.open()
	cur := filepath.Join(ts.dir, "alice", "cur")
	steps := 150
	if testing.Short() {
		steps = 40
	}
	for n := range steps {
		what := []string{"deliver", "deliver", "flag", "flag", "remove", "expunge", "rename", "unlink", "numbers", "away", "silent", "conditional"}[rand.IntN(12)]
		pick := func(x *resyncClient) int { return 1 + rand.IntN(max(len(x.view), 1)) }
		other.do("NOOP")
		other.catchUp()
		switch {
		case what == "deliver":
			ts.deliver(t, "alice", "Subject: "+strconv.Itoa(n)+"\n\nx\n")
		case what == "away":
			c.conn.Close()
			if rand.IntN(2) == 0 {
				other.conn.Close() // nobody has the folder open: as after a restart
				other.dial(ts)
				other.open()
			}
			c.dial(ts)
			c.open()
		case what == "rename" || what == "unlink":
			foreign(t, cur, what)
		case len(other.view) == 0 || len(c.view) == 0:
			continue
		case what == "flag":
			other.do(`STORE %d +FLAGS (\Flagged k%d)`, pick(other), rand.IntN(3))
		case what == "remove":
			other.do(`STORE %d -FLAGS (\Flagged \Seen)`, pick(other))
		case what == "expunge":
			other.do(`STORE %d +FLAGS.SILENT (\Deleted)`, pick(other))
			other.do("EXPUNGE")
		case what == "numbers": // no VANISHED in it, but mod-sequences
			c.do("FETCH %d (UID FLAGS MODSEQ)", pick(c))
		case what == "silent":
			uid := c.view[pick(c)-1]
			c.do(`UID STORE %d +FLAGS.SILENT (\Seen)`, uid)
			c.do("UID FETCH %d (FLAGS MODSEQ)", uid)
		case what == "conditional":
			c.do(`STORE %d (UNCHANGEDSINCE %d) +FLAGS (\Answered)`, pick(c), c.highest)
		}
		if rand.IntN(3) == 0 {
			c.check(ts, what)
		}
	}
	c.check(ts, "all")
	c.conn.Close()
	other.conn.Close()
}

// foreign does to a file what another program could do.
func foreign(t *testing.T, cur, what string) {
	entries, err := os.ReadDir(cur)
	if err != nil || len(entries) == 0 {
		return
	}
	name := filepath.Join(cur, entries[rand.IntN(len(entries))].Name())
	if what == "unlink" {
		err = os.Remove(name)
	} else {
		base, info, _ := strings.Cut(name, ":2,")
		if strings.Contains(info, "R") {
			info = strings.ReplaceAll(info, "R", "")
		} else {
			letters := []byte(info + "R")
			slices.Sort(letters)
			info = string(letters)
		}
		err = os.Rename(name, base+":2,"+info)
	}
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}
