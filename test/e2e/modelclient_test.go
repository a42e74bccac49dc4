package e2e_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"peyk/test/imapwire"
)

// A modelClient is one IMAP client of the model, with what it was told.
type modelClient struct {
	kind
	m   *model
	n   int
	r   *rand.Rand
	box string

	c       *imapwire.Client
	cmd     *exec.Cmd         // its imapd, if it has its own
	view    []uint32          // UIDs by sequence number; 0 where it is not known yet
	flags   map[uint32]string // of each UID: sorted, one space before each
	modseqs map[uint32]uint64
	highest uint64 // HIGHESTMODSEQ
	cached  string // the mailbox that flags and highest are about
	running string // the command
	told    map[place]uint64
	history []string

	// witness is what this client's own keyword must be on messages of INBOX
	// that nobody deletes: 1 set, 0 not set, -1 unknown.
	witness map[uint32]int
}

func (c *modelClient) keyword() string { return fmt.Sprintf("w%d", c.n) }

func (c *modelClient) who() string {
	return fmt.Sprintf("client %d\n  %s\n", c.n, strings.Join(c.lately(), "\n  "))
}

// lately is the history since the last SELECT but one, or 30 lines.
func (c *modelClient) lately() []string {
	from := max(0, len(c.history)-30)
	for selects := 0; from > 0 && selects < 1; from-- {
		if strings.HasPrefix(c.history[from], "> SELECT") {
			selects++
		}
	}
	return c.history[from:]
}

func (c *modelClient) fail(format string, args ...any) {
	c.m.fail("%s%s", c.who(), fmt.Sprintf(format, args...))
}

func (c *modelClient) note(s string) {
	if len(c.history) > 1000 {
		c.history = append(c.history[:0], c.history[500:]...)
	}
	s, _, _ = strings.Cut(s, "\r\n")
	c.history = append(c.history, fmt.Sprintf("%.300s", s))
}

// run works until the test is over.
func (c *modelClient) run() {
	for !c.m.over() {
		if c.connect() != nil {
			c.m.pause(10 * time.Millisecond)
			continue
		}
		err := c.selectBox()
		for n := 10 + c.r.IntN(100); err == nil && n > 0 && !c.m.over(); n-- {
			err = c.act()
		}
		if err == nil && c.r.IntN(2) == 0 {
			c.do("LOGOUT")
		}
		c.drop()
	}
}

func (c *modelClient) connect() (err error) {
	if c.process {
		c.c, c.cmd, err = c.m.process()
	} else {
		c.c, err = c.m.login()
	}
	if err != nil {
		return err
	}
	c.c.Each = c.take
	c.note("-- connected")
	c.view = nil
	for _, command := range c.enabling() {
		if _, err := c.do(command); err != nil {
			c.drop()
			return err
		}
	}
	return nil
}

// enabling are the commands that a client of this kind begins with.
func (k kind) enabling() (commands []string) {
	for i, name := range []string{"CONDSTORE", "QRESYNC", "UIDONLY"} {
		if []bool{k.condstore, k.qresync, k.uidOnly}[i] {
			commands = append(commands, "ENABLE "+name)
		}
	}
	if k.notify {
		commands = append(commands, "NOTIFY SET (SELECTED-DELAYED (MessageNew (UID FLAGS) MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge FlagChange MailboxMetadataChange))")
	}
	return commands
}

func (c *modelClient) drop() {
	c.c.Close()
	if c.cmd != nil {
		if c.r.IntN(2) == 0 {
			c.cmd.Process.Kill()
		}
		c.cmd.Wait()
		c.cmd = nil
	}
	c.note("-- closed")
}

// do runs a command; the error is one of the connection.
func (c *modelClient) do(command string) (*imapwire.Answer, error) {
	c.running = command
	c.note("> " + command)
	a, err := c.c.Do(command)
	c.running = ""
	if err != nil {
		c.note("! " + err.Error())
		if !ended(err) {
			c.fail("%v", err)
		}
		return nil, err
	}
	if a.Kind == "BAD" {
		c.fail("BAD: %q", a.Raw)
	}
	c.note("< " + a.Line())
	return a, nil
}

// ended reports whether a connection is over, as opposed to one on which
// something is said that cannot be.
func ended(err error) bool {
	text := err.Error()
	for _, s := range []string{"EOF", "reset", "broken pipe", "closed"} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// take keeps the client's view by every response.
func (c *modelClient) take(r *imapwire.Response) {
	if r.Tag == "*" {
		c.note("< " + r.Line())
	}
	switch r.Kind {
	case "EXISTS":
		if int(r.Num) < len(c.view) {
			c.fail("EXISTS %d, and there were %d", r.Num, len(c.view))
		}
		for len(c.view) < int(r.Num) {
			c.view = append(c.view, 0)
		}
	case "EXPUNGE":
		c.expunged(int(r.Num))
	case "VANISHED":
		c.vanished(r)
	case "FETCH", "UIDFETCH":
		c.fetched(r)
	case "STATUS":
		c.status(r)
	}
}

func (c *modelClient) fixed() bool {
	verb, _, _ := strings.Cut(c.running, " ")
	return verb == "FETCH" || verb == "STORE" || verb == "SEARCH"
}

func (c *modelClient) expunged(n int) {
	switch {
	case c.fixed():
		c.fail("EXPUNGE during %s", c.running)
	case c.qresync:
		c.fail("EXPUNGE after ENABLE QRESYNC")
	case n > len(c.view):
		c.fail("EXPUNGE %d of %d", n, len(c.view))
	default:
		c.forget(n - 1)
	}
}

func (c *modelClient) forget(i int) {
	if uid := c.view[i]; uid != 0 {
		delete(c.flags, uid)
		c.m.vanished(c.who(), place{c.box, uid})
	}
	c.view = slices.Delete(c.view, i, i+1)
}

func (c *modelClient) vanished(r *imapwire.Response) {
	earlier := r.Args[0].Text == "EARLIER"
	if !c.qresync {
		c.fail("VANISHED without QRESYNC")
	}
	if !earlier && c.fixed() {
		c.fail("VANISHED during %s", c.running)
	}
	eachUID(r.Args[1].Text, func(uid uint32) {
		i := slices.Index(c.view, uid)
		switch {
		case i >= 0:
			c.forget(i)
		case earlier:
			if _, known := c.flags[uid]; known {
				delete(c.flags, uid)
				c.m.vanished(c.who(), place{c.box, uid})
			}
		case c.unknown(uid) >= 0:
			i = c.unknown(uid)
			c.view = slices.Delete(c.view, i, i+1)
			delete(c.flags, uid)
			c.m.vanished(c.who(), place{c.box, uid})
		default:
			c.fail("VANISHED %d, which was not there", uid)
		}
	})
}

// unknown returns the index of a message that may have the UID, -1 if there
// is none.
func (c *modelClient) unknown(uid uint32) int {
	if c.uidOnly {
		return slices.Index(c.view, 0)
	}
	at := -1
	for i, known := range c.view {
		switch {
		case known == 0:
			at = i
		case known > uid:
			return at
		default:
			at = -1
		}
	}
	return at
}

// eachUID walks a set; sets of a test are small.
func eachUID(set string, f func(uint32)) {
	for _, part := range strings.Split(set, ",") {
		a, b, isRange := strings.Cut(part, ":")
		from, _ := strconv.ParseUint(a, 10, 32)
		to := from
		if isRange {
			to, _ = strconv.ParseUint(b, 10, 32)
		}
		for uid := min(from, to); uid <= max(from, to) && uid < min(from, to)+1_000_000; uid++ {
			f(uint32(uid))
		}
	}
}

func (c *modelClient) fetched(r *imapwire.Response) {
	i := int(r.Num) - 1
	if c.uidOnly {
		i = c.slot(r.Num)
	}
	if c.uidOnly != (r.Kind == "UIDFETCH") || i < 0 || i >= len(c.view) {
		c.fail("%s %d, of %d messages", r.Kind, r.Num, len(c.view))
		return
	}
	if v, ok := r.Item("UID"); ok {
		c.place(i, uint32(v.Num()))
	}
	uid := c.view[i]
	if uid == 0 {
		return
	}
	if v, ok := r.Item("MODSEQ"); ok && c.modseqs != nil {
		now := v.List[0].Num()
		if now < c.modseqs[uid] {
			c.fail("MODSEQ of UID %d is %d, and was %d", uid, now, c.modseqs[uid])
		}
		c.modseqs[uid] = now
	}
	if v, ok := r.Item("FLAGS"); ok {
		c.flags[uid] = flagText(v)
	}
	if v, ok := r.Item("BODY[]"); ok {
		c.m.learn(c.who(), place{c.box, uid}, []byte(v.Text))
		c.m.did("bodies compared")
	}
}

// slot returns the index of a UID, which may be that of a message of unknown
// UID: those stand at the end of the view of one who knows no numbers.
func (c *modelClient) slot(uid uint32) int {
	if i := slices.Index(c.view, uid); i >= 0 {
		return i
	}
	if n := len(c.view); n > 0 && c.view[n-1] == 0 {
		known := slices.IndexFunc(c.view, func(u uint32) bool { return u == 0 || u > uid })
		c.view = slices.Insert(c.view[:n-1], known, uid)
		return known
	}
	return -1
}

func flagText(v imapwire.Value) string {
	var names []string
	for _, f := range v.List {
		if f.Text != `\Recent` {
			names = append(names, " "+f.Text)
		}
	}
	slices.Sort(names)
	return strings.Join(names, "")
}

// place checks that sequence numbers and UIDs ascend together.
func (c *modelClient) place(i int, uid uint32) {
	if c.view[i] != 0 && c.view[i] != uid {
		c.fail("message %d has UID %d, and had %d", i+1, uid, c.view[i])
	}
	for j := i - 1; j >= 0; j-- {
		if c.view[j] != 0 {
			if c.view[j] >= uid {
				c.fail("UID %d at %d stands behind UID %d at %d", uid, i+1, c.view[j], j+1)
			}
			break
		}
	}
	c.view[i] = uid
}

// selectBox selects the mailbox and brings the view up to date. With QRESYNC
// the client tells what it knows, and what it then has must be what is there.
func (c *modelClient) selectBox() error {
	if c.notify && c.view != nil {
		box := c.box
		c.box = c.cached // what NOTIFY has sent is about this one
		if _, err := c.do("UNSELECT"); err != nil {
			return err
		}
		c.box = box
	}
	c.view = nil
	nextBefore, modseqBefore := c.m.highest(c.box)
	validity := c.m.validityOf(c.box)
	command := "SELECT " + c.box
	resync := c.qresync && c.cached == c.box && c.highest > 0 && validity != 0
	if resync {
		command += fmt.Sprintf(" (QRESYNC (%d %d))", validity, c.highest)
	} else {
		c.flags = map[uint32]string{}
	}
	c.cached, c.modseqs = "", map[uint32]uint64{} // until all is known
	pending := c.pendingFetches(resync)
	a, err := c.do(command)
	if err != nil {
		return err
	}
	pending()
	told := false
	for _, r := range a.Data {
		switch r.Code {
		case "UIDVALIDITY":
			c.m.told(c.who(), c.box, r.Code, r.CodeArgs[0].Num(), 0)
		case "UIDNEXT":
			c.m.told(c.who(), c.box, r.Code, r.CodeArgs[0].Num(), nextBefore)
		case "HIGHESTMODSEQ":
			c.m.told(c.who(), c.box, r.Code, r.CodeArgs[0].Num(), modseqBefore)
			if !told { // what comes after it is news, which may be told by EXISTS alone
				c.highest, told = r.CodeArgs[0].Num(), true
			}
		}
	}
	return c.compareWithFresh(resync)
}

func (m *model) validityOf(box string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.validity[box]
}

// pendingFetches: FETCH answers of a SELECT with QRESYNC tell of UIDs before
// the client knows sequence numbers, so they are taken as they are.
func (c *modelClient) pendingFetches(resync bool) (done func()) {
	if !resync {
		return func() {}
	}
	each := c.c.Each
	c.c.Each = func(r *imapwire.Response) {
		if r.Kind != "FETCH" && r.Kind != "UIDFETCH" {
			each(r)
			return
		}
		c.note("< " + r.Line())
		v, ok := r.Item("UID")
		uid := uint32(v.Num())
		if r.Kind == "UIDFETCH" {
			uid, ok = r.Num, true
		}
		if !ok {
			c.fail("a FETCH without UID: %q", r.Raw)
			return
		}
		if v, ok := r.Item("FLAGS"); ok {
			c.flags[uid] = flagText(v)
		}
	}
	return func() { c.c.Each = each }
}

// compareWithFresh fetches everything and compares it with what the client
// had. What changed since SELECT has a greater mod-sequence.
func (c *modelClient) compareWithFresh(resync bool) error {
	had := map[uint32]string{}
	for uid, flags := range c.flags {
		had[uid] = flags
	}
	if resync {
		c.cached = c.box
	}
	if _, err := c.do("UID FETCH 1:* (FLAGS MODSEQ)"); err != nil {
		return err
	}
	c.cached = c.box
	c.checkWitness()
	if !resync {
		return nil
	}
	c.m.did("QRESYNC compared")
	for _, uid := range c.view {
		flags, ok := had[uid]
		if uid != 0 && c.modseqs[uid] <= c.highest && (!ok || flags != c.flags[uid]) {
			c.fail("UID %d after QRESYNC: had %q (%v), is %q with MODSEQ %d; HIGHESTMODSEQ was %d", uid, flags, ok, c.flags[uid], c.modseqs[uid], c.highest)
		}
	}
	for uid := range c.flags {
		if !slices.Contains(c.view, uid) {
			c.fail("UID %d is not there, and its end was not announced", uid)
			delete(c.flags, uid)
		}
	}
	return nil
}

func (c *modelClient) checkWitness() {
	if c.box != "INBOX" {
		return
	}
	for uid, want := range c.witness {
		if flags, ok := c.flags[uid]; want >= 0 && ok && strings.Contains(flags+" ", " "+c.keyword()+" ") != (want == 1) {
			c.fail("%s on UID %d: the flags are %q, want %d", c.keyword(), uid, flags, want)
		}
	}
}

// act does one random thing.
func (c *modelClient) act() error {
	switch c.r.IntN(21) {
	case 0, 1, 2:
		return c.append()
	case 3, 4, 5, 6:
		return c.mark()
	case 7, 8:
		return c.copyOrMove()
	case 9, 10:
		return c.delete()
	case 11, 12, 13:
		return c.fetch()
	case 14:
		return c.search()
	case 15, 16:
		return c.idle()
	case 17:
		return c.askStatus()
	case 20:
		return c.annotate()
	case 18:
		if c.r.IntN(3) == 0 {
			c.box = []string{"INBOX", "INBOX", "Other"}[c.r.IntN(3)]
			return c.selectBox()
		}
	}
	_, err := c.do("NOOP")
	return err
}

// some is a UID of the view, 0 if there is none.
func (c *modelClient) some() uint32 {
	if len(c.view) == 0 {
		return 0
	}
	return c.view[c.r.IntN(len(c.view))]
}

// free reports whether the message may be deleted.
func (c *modelClient) free(uid uint32) bool {
	id := c.m.idAt(place{c.box, uid})
	return id != "" && (c.box != "INBOX" || strings.HasPrefix(id, "free"))
}

func (c *modelClient) append() error {
	if len(c.view) > 600 {
		return nil
	}
	id, text := c.m.message(c.r)
	next, _ := c.m.highest(c.box)
	a, err := c.do("APPEND " + c.box + " (" + []string{"", `\Seen`, `\Flagged`}[c.r.IntN(3)] + ") " + imapwire.Lit(string(text)))
	if err != nil || a.Kind != "OK" {
		return err
	}
	c.m.did("appended")
	if c.box == "INBOX" {
		c.m.acknowledge(id)
	}
	if a.Code != "APPENDUID" {
		c.fail("APPEND without APPENDUID: %q", a.Raw)
		return nil
	}
	uid := uint32(a.CodeArgs[1].Num())
	if uint64(uid) < next {
		c.fail("APPENDUID %d, and UIDNEXT was %d", uid, next)
	}
	c.m.learn(c.who(), place{c.box, uid}, text)
	return nil
}

// mark changes flags: the client's own keyword on kept messages, anything on
// others.
func (c *modelClient) mark() error {
	uid := c.some()
	if uid == 0 {
		return nil
	}
	id := c.m.idAt(place{c.box, uid})
	if c.box != "INBOX" || !strings.HasPrefix(id, "kept") || c.witness == nil {
		if !c.free(uid) {
			return nil
		}
		_, err := c.do(fmt.Sprintf("UID STORE %d %sFLAGS (%s)", uid, []string{"+", "-", ""}[c.r.IntN(3)], []string{`\Seen`, `\Answered`, `\Deleted`, `\Draft`, "shared"}[c.r.IntN(5)]))
		return err
	}
	want, sign := 1, "+"
	if c.r.IntN(2) == 0 {
		want, sign = 0, "-"
	}
	had, knew := c.witness[uid]
	c.witness[uid] = -1
	condition, before := "", c.modseqs[uid]
	if c.condstore && before > 0 {
		condition = fmt.Sprintf("(UNCHANGEDSINCE %d) ", before)
	}
	a, err := c.do(fmt.Sprintf("UID STORE %d %s%sFLAGS%s (%s)", uid, condition, sign, []string{"", ".SILENT"}[c.r.IntN(2)], c.keyword()))
	switch {
	case err != nil:
		return err
	case a.Code == "MODIFIED" && condition == "":
		c.fail("MODIFIED where there was no condition")
	case a.Code == "MODIFIED" && knew:
		c.witness[uid] = had // nothing was done
		c.m.did("conditions not met")
	case a.Code == "MODIFIED":
	case a.Kind == "OK":
		c.witness[uid] = want
		c.m.did("witnesses")
	}
	return nil
}

// annotate changes a comment.
func (c *modelClient) annotate() error {
	_, err := c.do(fmt.Sprintf(`SETMETADATA %s (/shared/comment "%d by %d")`, []string{"INBOX", "Other"}[c.r.IntN(2)], c.r.Uint32(), c.n))
	c.m.did("annotated")
	return err
}

func (c *modelClient) copyOrMove() error {
	uid := c.some()
	to := map[string]string{"INBOX": "Other", "Other": "INBOX"}[c.box]
	if uid == 0 {
		return nil
	}
	if c.free(uid) && c.r.IntN(2) == 0 {
		_, err := c.do(fmt.Sprintf("UID MOVE %d %s", uid, to))
		c.m.did("moved")
		return err
	}
	if to == "INBOX" && len(c.view) > 300 {
		return nil
	}
	next, _ := c.m.highest(to)
	a, err := c.do(fmt.Sprintf("UID COPY %d %s", uid, to))
	if err == nil && a.Code == "COPYUID" {
		c.m.did("copied")
		if a.CodeArgs[2].Num() < next {
			c.fail("COPYUID %s, and UIDNEXT was %d", a.CodeArgs[2], next)
		}
	}
	return err
}

func (c *modelClient) delete() error {
	uid := c.some()
	if uid == 0 || !c.free(uid) {
		return nil
	}
	if _, err := c.do(fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, uid)); err != nil {
		return err
	}
	command := "EXPUNGE"
	if c.r.IntN(2) == 0 {
		command = fmt.Sprintf("UID EXPUNGE %d", uid)
	}
	_, err := c.do(command)
	c.m.did("expunged")
	return err
}

func (c *modelClient) fetch() error {
	if len(c.view) == 0 {
		return nil
	}
	if c.uidOnly {
		_, err := c.do(fmt.Sprintf("UID FETCH %d (FLAGS BODY.PEEK[])", max(1, c.some())))
		return err
	}
	from := 1 + c.r.IntN(len(c.view))
	_, err := c.do(fmt.Sprintf("FETCH %d:%d (UID FLAGS BODY.PEEK[])", from, min(len(c.view), from+c.r.IntN(8))))
	return err
}

func (c *modelClient) search() error {
	before := len(c.view)
	if c.uidOnly {
		_, err := c.do("UID SEARCH ALL")
		return err
	}
	a, err := c.do("SEARCH ALL")
	if err != nil || a.Kind != "OK" {
		return err
	}
	for _, r := range a.Data {
		if r.Kind == "SEARCH" && len(r.Args) > len(c.view) || r.Kind == "SEARCH" && len(r.Args) < before {
			c.fail("SEARCH ALL finds %d; there were %d, and are %d", len(r.Args), before, len(c.view))
		}
	}
	return nil
}

// idle waits in IDLE for a while.
func (c *modelClient) idle() error {
	c.running = "IDLE"
	c.note("> IDLE")
	tag, err := c.c.Send("IDLE")
	if err != nil {
		return err
	}
	for {
		r, err := c.c.Next()
		if err != nil {
			return err
		}
		if r.Tag == "+" {
			break
		}
	}
	c.m.pause(time.Duration(c.r.IntN(150)) * time.Millisecond)
	if _, err := io.WriteString(c.c.Conn, "DONE\r\n"); err != nil {
		return err
	}
	c.note("> DONE")
	_, err = c.c.Finish(tag)
	if err != nil && !ended(err) {
		c.fail("%v", err)
	}
	return err
}

// askStatus asks about the other mailbox; what it says must not be less than
// what was told to anybody before.
func (c *modelClient) askStatus() error {
	next, modseq := c.m.highest("Other")
	a, err := c.do("STATUS Other (UIDNEXT UIDVALIDITY HIGHESTMODSEQ)")
	if err != nil || a.Kind != "OK" {
		return err
	}
	r := a.Data[len(a.Data)-1]
	for _, old := range a.Data {
		if old.Kind == "STATUS" && len(old.Args[1].List) == 3 {
			r = old // of those that NOTIFY sent meanwhile the answer is the last
		}
	}
	if r.Kind != "STATUS" {
		return nil
	}
	for _, item := range r.Args[1].List {
		name := item.List[0].Text
		c.m.told(c.who(), "Other", name, item.List[1].Num(), map[string]uint64{"UIDNEXT": next, "HIGHESTMODSEQ": modseq}[name])
	}
	return nil
}

// status checks what STATUS says of another mailbox against what it said to
// this client before, asked for or not.
func (c *modelClient) status(r *imapwire.Response) {
	if c.told == nil {
		c.told = map[place]uint64{}
	}
	box := r.Args[0].Text
	for _, item := range r.Args[1].List {
		name, value := item.List[0].Text, item.List[1].Num()
		at := place{box + " " + name, 0}
		if (name == "UIDNEXT" || name == "HIGHESTMODSEQ") && value < c.told[at] {
			c.fail("%s of %s is %d, and was %d", name, box, value, c.told[at])
		}
		c.told[at] = value
	}
}

// dialTLS is dial over TLS.
func dialTLS(addr string, config *tls.Config) (*line, error) {
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	return &line{conn, bufio.NewReaderSize(conn, 64<<10)}, nil
}

// ask sends a POP3 command, if any, and returns a line that begins with +OK.
func (l *line) ask(command string) (string, error) {
	if command != "" {
		if _, err := io.WriteString(l, command+"\r\n"); err != nil {
			return "", err
		}
	}
	s, err := l.r.ReadString('\n')
	if err == nil && !strings.HasPrefix(s, "+OK") {
		err = fmt.Errorf("%s: %q", command, s)
	}
	return strings.TrimRight(s, "\r\n"), err
}

// top returns the header of a message.
func (l *line) top(n int) (string, error) {
	if _, err := l.ask(fmt.Sprint("TOP ", n, " 0")); err != nil {
		return "", err
	}
	var b strings.Builder
	for {
		s, err := l.r.ReadString('\n')
		if err != nil || s == ".\r\n" {
			return b.String(), err
		}
		b.WriteString(strings.TrimSuffix(s, "\r\n") + "\n")
	}
}
