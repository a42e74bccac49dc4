package interop_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"peyk/test/corpus"
	"peyk/test/imapwire"
)

// messages are the messages of the corpus that are not huge.
var messages = sync.OnceValue(func() [][]byte {
	var all [][]byte
	for m := range corpus.Messages() {
		if len(m.Text) < 300_000 {
			all = append(all, m.Text)
		}
	}
	return all
})

// A generator makes commands that mostly make sense.
type generator struct {
	*rand.Rand
	both     map[string]bool // capabilities
	boxes    []string
	selected string
	exists   int
	makers   []func() string
}

func newGenerator(r *rand.Rand, both map[string]bool) *generator {
	g := &generator{Rand: r, both: both, boxes: []string{"INBOX"}}
	add := func(weight int, needs string, make func() string) {
		if needs != "" && !both[needs] {
			return
		}
		for range weight {
			g.makers = append(g.makers, make)
		}
	}
	add(6, "", g.selectBox)
	add(4, "", g.manage)
	add(3, "", g.list)
	add(3, "", g.status)
	add(10, "", g.fetch)
	add(6, "", g.store)
	add(6, "", g.search)
	add(3, "", g.copy)
	add(2, "", g.expunge)
	add(3, "", g.append)
	add(1, "", func() string { return g.pick("NOOP", "CHECK", "NAMESPACE", "UNSELECT", "CLOSE") })
	add(2, "", g.nonsense)
	add(3, "SORT", g.sort)
	add(2, "THREAD=REFERENCES", g.thread)
	add(2, "CONDSTORE", g.condstore)
	add(1, "QRESYNC", g.qresync)
	add(2, "BINARY", g.binary)
	add(2, "MULTIAPPEND", g.multiappend)
	add(2, "CATENATE", g.catenate)
	add(1, "PREVIEW", func() string { return "FETCH " + g.set() + " PREVIEW" })
	add(1, "SAVEDATE", func() string { return "FETCH " + g.set() + " SAVEDATE" })
	add(2, "SEARCHRES", g.saved)
	add(2, "METADATA", g.metadata)
	return g
}

func (g *generator) pick(from ...string) string { return from[g.IntN(len(from))] }

func (g *generator) command() string {
	if g.selected == "" && g.IntN(3) > 0 {
		return g.selectBox()
	}
	return g.makers[g.IntN(len(g.makers))]()
}

// learn keeps what the generator must know, from our answer.
func (g *generator) learn(command string, o outcome) {
	if n, ok := o["exists"]; ok {
		fmt.Sscan(n, &g.exists)
	}
	words := strings.Fields(command)
	name := argument(command)
	switch words[0] {
	case "SELECT", "EXAMINE":
		g.selected = ""
		if o["tagged"] == "OK" {
			g.selected = name
		}
		if _, ok := o["exists"]; !ok || g.selected == "" {
			g.exists = 0
		}
	case "CLOSE", "UNSELECT":
		if o["tagged"] == "OK" {
			g.selected, g.exists = "", 0
		}
	case "CREATE":
		if o["tagged"] == "OK" {
			g.boxes = append(g.boxes, name)
		}
	}
}

// argument is the first argument of a command, which may hold spaces.
func argument(command string) string {
	_, rest, _ := strings.Cut(command, " ")
	for _, name := range newNames {
		if rest == name || strings.HasPrefix(rest, name+" ") {
			return name
		}
	}
	name, _, _ := strings.Cut(rest, " ")
	return name
}

var newNames = []string{"Work", "Work.Deep", "Work.Deep.er", "a", "a.b", `"with space"`, "&BkEGKAY0-", "Sent", `"q\"q"`, "b&-c", "x.y.z", "INBOX.sub", "inbox"}

// box is a mailbox, most often one that exists.
func (g *generator) box() string {
	if g.IntN(6) == 0 {
		return newNames[g.IntN(len(newNames))]
	}
	return g.boxes[g.IntN(len(g.boxes))]
}

func (g *generator) selectBox() string {
	command := g.pick("SELECT ", "SELECT ", "SELECT ", "EXAMINE ") + g.box()
	if g.both["CONDSTORE"] && g.IntN(4) == 0 {
		command += " (CONDSTORE)"
	}
	return command
}

func (g *generator) manage() string {
	other := func() string { // never the selected one, whose fate is each server's choice
		for range 9 {
			if b := g.box(); !strings.EqualFold(b, g.selected) && !strings.EqualFold(b, "INBOX") && !strings.HasPrefix(g.selected, b+".") {
				return b
			}
		}
		return "none"
	}
	switch g.IntN(8) {
	case 0, 1, 2:
		return "CREATE " + newNames[g.IntN(len(newNames))]
	case 3:
		return "DELETE " + other()
	case 4:
		return "RENAME " + other() + " " + newNames[g.IntN(len(newNames))]
	case 5, 6:
		return "SUBSCRIBE " + g.box()
	}
	return "UNSUBSCRIBE " + g.box()
}

func (g *generator) list() string {
	patterns := []string{`""`, "*", "%", "%.%", "a*", "*b", "INBOX", "inbox", `"W%"`, "W*r", "nothing", "Work.%", "%b", "*.z"}
	p := func() string { return patterns[g.IntN(len(patterns))] }
	ref := g.pick(`""`, `""`, `""`, "Work.", "a")
	switch g.IntN(7) {
	case 0, 1:
		return "LSUB " + ref + " " + p()
	case 2:
		return "LIST (SUBSCRIBED) " + ref + " " + p()
	case 3:
		return "LIST (SUBSCRIBED RECURSIVEMATCH) " + ref + " (" + p() + " " + p() + ")"
	case 4:
		return "LIST " + ref + " (" + p() + " " + p() + ") RETURN (SUBSCRIBED CHILDREN)"
	case 5:
		return "LIST " + ref + " " + p() + " RETURN (STATUS (MESSAGES UIDNEXT UNSEEN))"
	}
	return "LIST " + ref + " " + p()
}

func (g *generator) status() string {
	items := []string{"MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN"}
	if g.both["STATUS=SIZE"] {
		items = append(items, "SIZE")
	}
	if g.both["CONDSTORE"] {
		items = append(items, "HIGHESTMODSEQ")
	}
	g.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	return "STATUS " + g.box() + " (" + strings.Join(items[:1+g.IntN(len(items))], " ") + ")"
}

// uid makes a command that takes a set of messages one of UIDs, now and then.
func (g *generator) uid() string { return g.pick("", "", "UID ") }

func (g *generator) set() string {
	n := max(1, g.exists)
	one := func() string {
		if g.IntN(6) == 0 {
			return "*"
		}
		return fmt.Sprint(1 + g.IntN(n))
	}
	switch g.IntN(6) {
	case 0:
		return "1:*"
	case 1:
		return one() + ":" + one()
	case 2:
		return one() + "," + one() + ":" + one()
	}
	return one()
}

var sections = []string{"", "HEADER", "TEXT", "1", "2", "1.MIME", "2.MIME", "1.1", "1.2", "2.HEADER", "2.TEXT", "1.HEADER", "1.TEXT", "2.1", "3", "9", "1.1.1", "2.1.MIME",
	"HEADER.FIELDS (SUBJECT FROM)", "HEADER.FIELDS.NOT (SUBJECT RECEIVED)", "HEADER.FIELDS (X-None)", "2.HEADER.FIELDS (subject)", "1.HEADER.FIELDS.NOT (To)", `HEADER.FIELDS ("date" message-id)`}

func (g *generator) fetch() string {
	var items []string
	peek := g.pick("BODY.PEEK", "BODY.PEEK", "BODY") // of one kind: Dovecot sends a section twice that is there with and without
	for range 1 + g.IntN(4) {
		switch g.IntN(14) {
		case 0, 1:
			items = append(items, "FLAGS")
		case 2:
			items = append(items, "UID")
		case 3:
			items = append(items, "INTERNALDATE")
		case 4:
			items = append(items, "RFC822.SIZE")
		case 5:
			items = append(items, "ENVELOPE")
		case 6:
			items = append(items, "BODYSTRUCTURE")
		case 7:
			items = append(items, "BODY")
		case 8:
			items = append(items, g.pick("RFC822.HEADER", "RFC822.TEXT", "RFC822"))
		default:
			items = append(items, peek+"["+sections[g.IntN(len(sections))]+"]"+g.partial())
		}
	}
	slices.Sort(items)
	items = slices.Compact(items)
	if g.IntN(12) == 0 {
		return g.uid() + "FETCH " + g.set() + " " + g.pick("ALL", "FULL", "FAST", "FLAGS")
	}
	return g.uid() + "FETCH " + g.set() + " (" + strings.Join(items, " ") + ")"
}

func (g *generator) partial() string {
	switch g.IntN(6) {
	case 0:
		return fmt.Sprintf("<%d.%d>", g.IntN(50), 1+g.IntN(200))
	case 1:
		return fmt.Sprintf("<%d.%d>", g.IntN(30000), 1+g.IntN(5000))
	}
	return ""
}

var someFlags = []string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`, "$Label1", "work", "NonJunk", "x]"[:1]}

func (g *generator) flags() string {
	var flags []string
	for range g.IntN(3) {
		flags = append(flags, someFlags[g.IntN(len(someFlags))])
	}
	return "(" + strings.Join(flags, " ") + ")"
}

func (g *generator) store() string {
	command := g.uid() + "STORE " + g.set() + " "
	if g.both["CONDSTORE"] && g.IntN(6) == 0 {
		command += "(UNCHANGEDSINCE 9000000000000000000) "
	}
	return command + g.pick("FLAGS", "+FLAGS", "-FLAGS", "+FLAGS") + g.pick("", "", ".SILENT") + " " + g.flags()
}

// key is a search key.
func (g *generator) key(depth int) string {
	if depth > 2 {
		return "ALL"
	}
	text := func() string {
		return g.pick(`"sub"`, "plain", `""`, "example", "fox", "report", "سلام", "caf", "MIME", "level", "sender1", `"quick brown"`, "@example.net", "zzz", "Ä")
	}
	text8 := func() string { return imapwire.Quote(strings.Trim(text(), `"`)) }
	date := func() string {
		return fmt.Sprintf("%d-%s-%d", 1+g.IntN(28), g.pick("Nov", "Dec", "Jan"), 2023+g.IntN(4))
	}
	switch g.IntN(16) {
	case 0:
		return g.pick("SEEN", "UNSEEN", "ANSWERED", "FLAGGED", "DELETED", "DRAFT", "UNDELETED", "UNFLAGGED", "UNDRAFT", "UNANSWERED", "ALL")
	case 1:
		return g.pick("KEYWORD", "UNKEYWORD") + " " + g.pick("$Label1", "work", "none")
	case 2:
		return g.set()
	case 3:
		return "UID " + g.set()
	case 4:
		return g.pick("LARGER ", "SMALLER ") + fmt.Sprint(g.IntN(5000))
	case 5:
		return g.pick("BEFORE ", "ON ", "SINCE ") + date()
	case 6:
		return g.pick("SENTBEFORE ", "SENTON ", "SENTSINCE ") + date()
	case 7, 8:
		return g.pick("SUBJECT ", "FROM ", "TO ", "CC ", "BCC ") + text8()
	case 9:
		return "HEADER " + g.pick("Subject", "X-None", "Message-ID", "Content-Type", "Comments") + " " + text8()
	case 10:
		return "BODY " + text8()
	case 11:
		return "TEXT " + text8()
	case 12:
		return "NOT " + g.key(depth+1)
	case 13:
		return "OR " + g.key(depth+1) + " " + g.key(depth+1)
	case 14:
		return "(" + g.key(depth+1) + " " + g.key(depth+1) + ")"
	}
	return "NOT DELETED"
}

func (g *generator) returns() string {
	return g.pick("", "", "", "RETURN () ", "RETURN (MIN) ", "RETURN (MAX COUNT) ", "RETURN (ALL) ", "RETURN (MIN MAX COUNT ALL) ")
}

func (g *generator) search() string {
	keys := g.key(0)
	if g.IntN(3) == 0 {
		keys += " " + g.key(0)
	}
	return g.uid() + "SEARCH " + g.returns() + "CHARSET UTF-8 " + keys
}

func (g *generator) sort() string {
	criteria := []string{"ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO"}
	c := g.pick(criteria...)
	if g.IntN(2) == 0 {
		c = "REVERSE " + c
	}
	if g.IntN(2) == 0 {
		c += " " + g.pick(criteria...)
	}
	returns := ""
	if g.both["ESORT"] {
		returns = g.returns()
	}
	return g.uid() + "SORT " + returns + "(" + c + ") UTF-8 " + g.key(0)
}

func (g *generator) thread() string {
	return g.uid() + "THREAD " + g.pick("REFERENCES", "ORDEREDSUBJECT") + " UTF-8 " + g.key(0)
}

func (g *generator) copy() string {
	verb := "COPY "
	if g.both["MOVE"] && g.IntN(3) == 0 {
		verb = "MOVE "
	}
	return g.uid() + verb + g.set() + " " + g.box()
}

func (g *generator) expunge() string {
	if g.IntN(2) == 0 {
		return "UID EXPUNGE " + g.set()
	}
	return "EXPUNGE"
}

func (g *generator) text() string {
	all := messages()
	for {
		if m := all[g.IntN(len(all))]; len(m) < 20_000 {
			return string(m)
		}
	}
}

func (g *generator) appendOne() string {
	date := ""
	if g.IntN(2) == 0 {
		date = fmt.Sprintf(`"%2d-Jan-2020 %02d:00:00 +0330" `, 1+g.IntN(28), g.IntN(24))
	} else {
		date = `"01-Feb-2021 00:00:00 +0000" `
	}
	return g.flags() + " " + date + imapwire.Lit(g.text())
}

func (g *generator) append() string { return "APPEND " + g.box() + " " + g.appendOne() }

func (g *generator) multiappend() string {
	return "APPEND " + g.box() + " " + g.appendOne() + " " + g.appendOne()
}

func (g *generator) catenate() string {
	return "APPEND " + g.box() + ` "01-Feb-2021 00:00:00 +0000" CATENATE (TEXT ` + imapwire.Lit("Subject: made of parts\r\n\r\n") + ` URL "/INBOX;UID=` + fmt.Sprint(1+g.IntN(5)) + g.pick("", "/;SECTION=TEXT", "/;SECTION=1", "/;SECTION=HEADER") + `")`
}

func (g *generator) binary() string {
	part := g.pick("", "1", "2", "1.1", "1.2", "2.1", "3")
	return g.uid() + "FETCH " + g.set() + " " + g.pick("BINARY.PEEK["+part+"]", "BINARY.SIZE["+part+"]", "BINARY.PEEK["+part+"]<3.10>")
}

func (g *generator) condstore() string {
	switch g.IntN(4) {
	case 0:
		return g.uid() + "FETCH " + g.set() + " (FLAGS MODSEQ)"
	case 1:
		return g.uid() + "FETCH 1:* (FLAGS) (CHANGEDSINCE 9000000000000000000)"
	case 2:
		return g.uid() + "SEARCH MODSEQ 1"
	}
	return g.uid() + "STORE " + g.set() + " (UNCHANGEDSINCE 0) +FLAGS (" + g.pick(`\Seen`, "work") + ")"
}

func (g *generator) qresync() string { return g.pick("ENABLE CONDSTORE", "ENABLE QRESYNC") }

func (g *generator) saved() string {
	if g.IntN(2) == 0 {
		return "UID SEARCH RETURN (SAVE) " + g.pick("FLAGGED", "1:3", "SEEN", "NOT DELETED", "KEYWORD work", "UNDRAFT LARGER 1000") // what both find alike
	}
	return g.pick("UID FETCH $ FLAGS", "FETCH $ UID", "SEARCH $", "UID STORE $ +FLAGS work", "SEARCH NOT $")
}

func (g *generator) metadata() string {
	entry := g.pick("/private/comment", "/shared/comment", "/private/vendor/x/y")
	if g.IntN(2) == 0 {
		return "SETMETADATA " + g.pick("INBOX", `""`) + " (" + entry + " " + g.pick("NIL", `"text"`, imapwire.Lit("a\r\nb")) + ")"
	}
	if g.IntN(3) == 0 {
		return "GETMETADATA (DEPTH infinity) " + g.pick("INBOX", `""`) + " /private"
	}
	return "GETMETADATA " + g.pick("", "", "(MAXSIZE 3) ") + g.pick("INBOX", `""`) + " " + g.pick(entry, "("+entry+" /private/vendor/z)")
}

// nonsense is what both must refuse.
func (g *generator) nonsense() string {
	return g.pick("FETCH 0 FLAGS", "FETCH 1", "FETCH 1 (FOO)", "FETCH 1 BODY[MIME]", "FETCH 1 BODY[1.]", "FETCH 4294967296 FLAGS", "FETCH 1 (FLAGS", "FETCH 1 BODY[]<0.0>",
		"STORE 1 FLAGS", "STORE 1 FOO (a)", `STORE 1 +FLAGS (\Foo)`, "SEARCH", "SEARCH FOO", "SEARCH SINCE x", "SEARCH NOT", "SEARCH OR SEEN", "SEARCH (SEEN", "SEARCH CHARSET NONE SUBJECT x",
		"SELECT &AGE-", "SELECT none", "STATUS INBOX", "STATUS INBOX ()", "STATUS INBOX (FOO)", "STATUS none (MESSAGES)", "LIST", `LIST ""`, `LIST (FOO) "" *`,
		"CREATE", `CREATE ""`, "CREATE INBOX", "DELETE INBOX", "DELETE none", "RENAME none some", "RENAME INBOX", "COPY 1 none", "COPY 1", "UID FOO 1", "FOO", "EXPUNGE x", "UID EXPUNGE", "UID EXPUNGE 0",
		"APPEND INBOX", "APPEND none {1+}\r\nx", "APPEND INBOX (\\Seen {1+}\r\nx", "APPEND INBOX \"32-Jan-2020 00:00:00 +0000\" {1+}\r\nx", "NOOP x", "CLOSE x", "ENABLE", "STARTTLS", "LOGIN a b", "AUTHENTICATE PLAIN")
}
