package interop_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A difference is one thing that the two servers say differently.
type difference struct {
	command      string
	key          string
	ours, theirs string
	a, b         outcome           // everything they said
	header       string            // of the message, for FETCH
	text         string            // what Dovecot's completion says
	search       string            // the reason that whyFound gives
	odd          map[string]bool   // messages whose addresses or subjects the two read differently
	sorted       [2]string         // the whole lists of both, for SORT
	field        map[string]string // of each message, what SORT first looks at
}

// An explanation says why a kind of difference is right.
type explanation struct {
	name     string
	why      string
	is       func(difference) bool
	diverges bool // the two are no longer in the same state: the script ends
}

func explain(d difference) *explanation {
	for i := range explanations {
		if explanations[i].is(d) {
			return &explanations[i]
		}
	}
	return nil
}

// both reports whether the completions are these.
func (d difference) both(ours, theirs string) bool {
	return d.a["tagged"] == ours && d.b["tagged"] == theirs
}

func (d difference) verb() string {
	verb, rest, _ := strings.Cut(d.command, " ")
	if verb == "UID" {
		verb, _, _ = strings.Cut(rest, " ")
	}
	return verb
}

var partOfPart = regexp.MustCompile(`(BODY|BINARY|BINARY.SIZE)\[[0-9.]*\.1(\.[A-Z]+.*)?\]`)

// noField finds a line of a header that is no field and no part of one.
var noField = regexp.MustCompile(`(?m)^:|^[^:\s]+$|^[^:]*[^:\s][^:]*\r$|\A[ \t]`)

var explanations = []explanation{
	{name: "$Forwarded", why: "the Maildir's flag P is a keyword of ours; Dovecot does not show it", is: func(d difference) bool {
		without := strings.Replace(d.ours, "$Forwarded ", "", 1)
		return (d.key == "FLAGS" || d.key == "code PERMANENTFLAGS") && without == d.theirs
	}},
	{name: "response code", why: "RFC 5530: a code is optional, and we tell one more often", is: func(d difference) bool {
		return strings.HasPrefix(d.key, "code ") && d.theirs == "" && d.ours == " " && d.a["tagged"] == d.b["tagged"] && d.a["tagged"] != "OK"
	}},
	{name: "CLOSED", why: "RFC 7162 §3.2.11 defines it for those who enabled QRESYNC; Dovecot tells everybody", is: func(d difference) bool {
		return d.key == "code CLOSED" && d.ours == ""
	}},
	{name: "CLIENTBUG", why: "Dovecot scolds who asks for the STATUS of the selected mailbox", is: func(d difference) bool {
		return d.key == "code CLIENTBUG" && d.ours == ""
	}},
	{name: "FLAGS in passing", why: "RFC 3501 §7.2.6 wants FLAGS at SELECT; each of the two repeats it at its own time when a keyword is new", is: func(d difference) bool {
		return (d.key == "FLAGS" || d.key == "code PERMANENTFLAGS") && (d.ours == "" || d.theirs == "") && d.verb() != "SELECT" && d.verb() != "EXAMINE"
	}},
	{name: "STORE that changes nothing", why: "RFC 3501 §6.4.6: the answer is the new value; Dovecot is silent where it is the old one", is: func(d difference) bool {
		return d.verb() == "STORE" && strings.HasPrefix(d.key, "FETCH ") && d.theirs == "" && d.both("OK", "OK")
	}},
	{name: "partial of no octets", why: "RFC 3501 §9: the length is an nz-number; Dovecot takes it, and sets \\Seen", diverges: true, is: func(d difference) bool {
		return strings.Contains(d.command, ".0>") && d.both("BAD", "OK")
	}},
	{name: "subscription of nothing", why: "RFC 3501 §6.3.6 leaves it to the server; a mailbox may come back", diverges: true, is: func(d difference) bool {
		return d.verb() == "SUBSCRIBE" && d.both("OK", "NO")
	}},
	{name: "HIGHESTMODSEQ", why: "RFC 7162 §3.1.2.1: every SELECT tells it; Dovecot only once the mailbox had a use for it", is: func(d difference) bool {
		return d.key == "code HIGHESTMODSEQ" && d.theirs == ""
	}},
	{name: "UID with flags", why: "RFC 7162 §3.1.2.1, §3.2.4 want MODSEQ and UID in every FETCH that was not asked for; Dovecot leaves them out after BODY[]", is: func(d difference) bool {
		item := d.key[strings.LastIndexByte(d.key, ' ')+1:]
		return strings.HasPrefix(d.key, "FETCH ") && (item == "UID" || item == "MODSEQ") && d.theirs == "" && d.both("OK", "OK") && d.verb() == "FETCH" && d.b[strings.TrimSuffix(d.key, item)+"FLAGS"] != ""
	}},
	{name: "part of a leaf", why: "RFC 3501 §6.4.5: only multiparts and messages have parts; Dovecot takes the leaf itself for its part 1", is: func(d difference) bool {
		return strings.HasPrefix(d.key, "FETCH ") && partOfPart.MatchString(d.key) && (d.ours == `""` || d.ours == "0")
	}},
	{name: "what Dovecot does not read", why: "Dovecot ignores what stands behind a command without arguments, and takes an empty list of flags", diverges: true, is: func(d difference) bool {
		return (d.command == "EXPUNGE x" || d.command == "NOOP x" || d.command == "CLOSE x" || d.command == "STORE 1 FLAGS") && d.a["tagged"] == "BAD"
	}},
	{name: "broken Content-Type", why: "RFC 2045 §5.2: what cannot be parsed is text/plain; Dovecot keeps parts of it", is: func(d difference) bool {
		return (isStructure(d.key) || strings.Contains(d.key, " BODY[")) && strings.Contains(d.header, "Subject: broken MIME")
	}},
	{name: "broken parameters", why: "RFC 2231 §3 does not say what sections mean that are missing or there twice", is: func(d difference) bool {
		return isStructure(d.key) && strings.Contains(d.header, "Subject: parameters")
	}},
	{name: "broken addresses", why: "what no grammar covers is kept as far as it can be read", is: func(d difference) bool {
		return strings.HasSuffix(d.key, " ENVELOPE") && (strings.Contains(d.header, "@@@") || strings.Contains(d.header, "Subject: addresses"))
	}},
	{name: "STORE and EXPUNGE after EXAMINE", why: "RFC 3501 §6.3.2: no changes are permitted; Dovecot says OK and does nothing", is: func(d difference) bool {
		return (d.verb() == "STORE" || d.verb() == "EXPUNGE" || d.verb() == "MOVE") && d.a["code READ-ONLY"] != "" && d.key == "tagged"
	}},
	{name: "READ-ONLY", why: "as STORE after EXAMINE", is: func(d difference) bool { return d.key == "code READ-ONLY" && d.a["tagged"] == "NO" }},
	{name: "keyword of a search", why: "Dovecot adds keywords that were only named in SEARCH or taken away", is: func(d difference) bool {
		return (d.key == "FLAGS" || d.key == "code PERMANENTFLAGS") && keywordsBut(d.ours) < keywordsBut(d.theirs)
	}},
	{name: "HIGHESTMODSEQ in passing", why: "RFC 7162 §3.1.2 has it at SELECT; Dovecot repeats it with COPY, APPEND, EXPUNGE", is: func(d difference) bool {
		return d.key == "code HIGHESTMODSEQ" && d.ours == "" && d.verb() != "SELECT" && d.verb() != "EXAMINE"
	}},
	{name: "syntax", why: "Dovecot answers NO, or OK, to what the grammar does not have", is: func(d difference) bool {
		return d.key == "tagged" && (d.command == "SELECT a b" || d.command == "ENABLE")
	}},
	{name: "namespaces", why: "ours shows the folders of others", is: func(d difference) bool { return d.key == "NAMESPACE" }},
	{name: "no date", why: "RFC 3501 §6.4.4 says nothing about mail without a Date; Dovecot takes it for very old", is: because("no date")},
	{name: "parent that is no mailbox", why: `RFC 5258 §3: \NonExistent implies \Noselect, which RFC 3501 has`, is: func(d difference) bool {
		ours := strings.Replace(strings.Replace(d.ours, `\noselect`, `\nonexistent`, 1), `"CHILDINFO"`, "CHILDINFO", 1)
		return strings.HasPrefix(d.key, "LIST ") && strings.TrimPrefix(ours, `\haschildren `) == strings.TrimPrefix(d.theirs, `\haschildren `)
	}},
	{name: "children", why: "RFC 3348: told always, asked for or not", is: func(d difference) bool {
		return strings.HasPrefix(d.key, "LIST ") && strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(d.ours, `\hasnochildren`), `\haschildren`)) == strings.TrimSpace(d.theirs)
	}},
	{name: "another reason", why: "where there are two reasons to refuse, either may be told", is: func(d difference) bool {
		return strings.HasPrefix(d.key, "code ") && d.both("NO", "NO")
	}},
	{name: "32 January", why: "RFC 3501 §9: no such date-time; Dovecot counts on", diverges: true, is: func(d difference) bool {
		return strings.Contains(d.command, "32-Jan") && d.both("BAD", "OK")
	}},
	{name: "MOVE after EXAMINE", why: "RFC 3501 §6.3.2; Dovecot copies, and cannot expunge", diverges: true, is: func(d difference) bool {
		return d.verb() == "MOVE" && d.a["code READ-ONLY"] != ""
	}},
	{name: "special use", why: "a folder named Sent is told to be for sent mail where nobody said another (RFC 6154 §2)", is: func(d difference) bool {
		ours := strings.Replace(d.ours, ` \sent`, "", 1)
		return strings.HasPrefix(d.key, "LIST ") && (ours == d.theirs || strings.TrimPrefix(ours, `\hasnochildren`) == d.theirs)
	}},
	{name: "UNCHANGEDSINCE 0", why: "RFC 7162 §3.1.3, example 9: a keyword that never was on the message passes; Dovecot refuses it", diverges: true, is: func(d difference) bool {
		return strings.Contains(d.command, "(UNCHANGEDSINCE 0)") && d.key == "code MODIFIED"
	}},
	{name: "CLOSED later", why: "as CLOSED", is: func(d difference) bool { return d.key == "code CLOSED" }},
	{name: "lines that are no fields", why: "what has no colon, or folds nothing, is no field: it is in BODY[HEADER] only", is: func(d difference) bool {
		return strings.Contains(d.key, "HEADER.FIELDS.NOT") && noField.MatchString(d.header)
	}},
	{name: "piece of no fields", why: "Dovecot miscounts in the empty line that ends a list of fields", is: func(d difference) bool {
		return strings.Contains(d.key, "HEADER.FIELDS") && d.ours == `"\n"` && d.theirs == `"\r"`
	}},
	{name: "CHILDINFO", why: "RFC 5258 §6: its name is a quoted string in RFC 9051's grammar, any astring here", is: func(d difference) bool {
		return strings.HasPrefix(d.key, "LIST ") && strings.Replace(d.ours, `"CHILDINFO"`, "CHILDINFO", 1) == d.theirs
	}},
	{name: "depth", why: "a structure ends at a depth of 100, Dovecot's elsewhere", is: func(d difference) bool {
		return isStructure(d.key) && strings.Contains(d.header, "Subject: nested") && strings.Count(d.ours, "(((") > 20
	}},
	{name: "text of a broken part", why: "as broken Content-Type", is: because("text of a broken part")},
	{name: "language of a word", why: "RFC 2231 §5: an encoded word may name its language; Dovecot does not decode it", is: because("language of a word")},
	{name: "binary that is broken", why: "RFC 3516 §4.3 refuses unknown encodings only: base64 that cannot be read is left out, and a field without an encoding says nothing; Dovecot refuses the FETCH", is: func(d difference) bool {
		return strings.Contains(d.command, "BINARY") && d.both("OK", "NO") && (strings.HasPrefix(d.text, "Invalid data in MIME part") || strings.HasPrefix(d.text, "Unknown Content-Transfer-Encoding"))
	}},
	{name: "depth of the server's metadata", why: "RFC 5464 §4.2.2: DEPTH infinity has all entries below; Dovecot leaves out those of vendors where there is no mailbox", is: func(d difference) bool {
		return d.command == `GETMETADATA (DEPTH infinity) "" /private` && d.key == "METADATA" && strings.Contains(d.ours, "/private/vendor/") && d.theirs == ""
	}},
	{name: "MAILBOXID", why: "RFC 8474, which Dovecot 2.3 does not have", is: func(d difference) bool { return d.key == "code MAILBOXID" }},
	{name: "PREVIEW", why: "RFC 8970 §3.2 leaves to the server what is quoted text and what a preview begins with", is: func(d difference) bool {
		return strings.HasSuffix(d.key, " PREVIEW")
	}},
	{name: "marks above letters", why: "a search for Ä finds a: people do not type the marks; Dovecot compares by i;unicode-casemap alone", is: because("marks above letters")},
	{name: "root of a reference", why: "RFC 3501 §6.3.8: a relative reference has the root \"\"; Dovecot repeats the reference", is: func(d difference) bool {
		return strings.HasPrefix(d.command, "LIST ") && strings.HasSuffix(d.command, ` ""`) && strings.HasPrefix(d.key, "LIST ")
	}},
	{name: "order of broken fields", why: "RFC 5256 §2 sorts by what an address or a subject says: Dovecot makes MISSING_MAILBOX of a list of commas, does not join a letter that lies in two encoded words, ends a subject at a NUL, and now and then has messages with the same field in an order that no criterion explains", is: func(d difference) bool {
		switch {
		case d.verb() == "SORT" && d.key == "SORT":
			return d.byField(d.but(d.ours)) == d.byField(d.but(d.theirs))
		case d.verb() == "SORT" && d.key == "ESEARCH ALL":
			return d.byField(d.but(unfolded(d.ours))) == d.byField(d.but(unfolded(d.theirs)))
		case d.verb() == "SORT" && (d.key == "ESEARCH MIN" || d.key == "ESEARCH MAX"):
			odd := (d.odd[d.ours] || d.odd[d.theirs]) && d.byField(d.but(d.sorted[0])) == d.byField(d.but(d.sorted[1]))
			return odd || d.field != nil && d.byField(d.ours) == d.byField(d.theirs)
		}
		return d.verb() == "THREAD" && d.key == "THREAD" && d.sameThreads()
	}},
	{name: "half an answer", why: "RFC 3516 §4.3: the FETCH fails; Dovecot has begun to answer by then", is: func(d difference) bool {
		return strings.Contains(d.command, "BINARY") && d.both("NO", "NO") && d.ours == "" && strings.HasPrefix(d.key, "FETCH ") && strings.HasSuffix(d.key, " UID")
	}},
}

func because(reason string) func(difference) bool {
	return func(d difference) bool { return isFound(d.key) && d.search == reason }
}

// textKey finds the search keys that look into messages.
var textKey = regexp.MustCompile(`(BODY|TEXT|SUBJECT|FROM|TO|CC|BCC|HEADER [^ ]+|SENT[A-Z]+) ("(?:[^"\\]|\\.)*"|[^ ()]+)`)

// whyFound says why the two find different messages: when each message that
// only one of them finds is one that a known reason makes different, for one
// of the keys alone. Else it returns "".
func whyFound(ours, theirs *side, command string) (reason string) {
	_, keys, ok := strings.Cut(command, " UTF-8 ")
	if !ok {
		return ""
	}
	known := map[string]string{}
	for _, key := range textKey.FindAllString(keys, -1) {
		for n, mine := range foundByOne(ours, theirs, key) {
			if known[n] = whyOne(key, ours.headerOf("FETCH "+n+" "), mine); known[n] == "" {
				return ""
			}
		}
	}
	for n := range foundByOne(ours, theirs, keys) {
		if reason = known[n]; reason == "" {
			return ""
		}
	}
	return reason
}

// foundByOne returns the messages that only one of the two finds, and whether
// it is ours.
func foundByOne(ours, theirs *side, keys string) map[string]bool {
	only := map[string]bool{}
	a, err := ours.do("SEARCH CHARSET UTF-8 " + keys)
	b, err2 := theirs.do("SEARCH CHARSET UTF-8 " + keys)
	if err != nil || err2 != nil {
		return nil
	}
	for _, n := range strings.Fields(a["SEARCH"]) {
		only[n] = true
	}
	for _, n := range strings.Fields(b["SEARCH"]) {
		if only[n] {
			delete(only, n)
		} else {
			only[n] = false
		}
	}
	return only
}

// whyOne says why one message is found by one of the two, for one key.
func whyOne(key, header string, mine bool) string {
	has := func(s string) bool { return strings.Contains(header, s) }
	text := strings.HasPrefix(key, "BODY ") || strings.HasPrefix(key, "TEXT ")
	switch {
	case strings.HasPrefix(key, "SENT") && !mine && !has("Date: Sun, 22 Nov 2026"):
		return "no date"
	case mine && (strings.Contains(key, "Ä") || key == `TEXT "sub"` && has("S\xfcbject")):
		return "marks above letters"
	case text && has("Subject: broken MIME"):
		return "text of a broken part"
	case mine && strings.HasSuffix(key, `"caf"`) && has("=?iso-8859-1*fr?"):
		return "language of a word"
	}
	return ""
}

var oddField = regexp.MustCompile(`(?m)^(Subject|Cc): =\?|^(To|Cc): @@@|^Subject: addresses|^Subject : `)

// odd returns the messages with such fields.
func (s *side) odd(uid bool) map[string]bool {
	odd := map[string]bool{}
	a, err := s.Do("FETCH 1:* (UID BODY.PEEK[HEADER])")
	if err != nil {
		return odd
	}
	for _, r := range a.Data {
		header, ok := r.Item("BODY[HEADER]")
		if !ok || !oddField.MatchString(header.Text) {
			continue
		}
		number := fmt.Sprint(r.Num)
		if u, ok := r.Item("UID"); ok && uid {
			number = u.String()
		}
		odd[number] = true
	}
	return odd
}

// byField is a list with each message's field in the place of its number.
func (d difference) byField(list string) string {
	words := strings.Fields(list)
	for i, n := range words {
		if text, ok := d.field[n]; ok {
			words[i] = text
		}
	}
	return strings.Join(words, " ")
}

// but is a list of messages without the odd ones.
func (d difference) but(list string) string {
	words := strings.Fields(list)
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return d.odd[w] }), " ")
}

// unfolded is a sequence set, number by number.
func unfolded(set string) string {
	var all []string
	for _, part := range strings.Split(set, ",") {
		a, b, isRange := strings.Cut(part, ":")
		from, _ := strconv.Atoi(a)
		to, _ := strconv.Atoi(b)
		for n := from; isRange && n < to; n++ {
			all = append(all, strconv.Itoa(n))
		}
		all = append(all, part[strings.LastIndexByte(part, ':')+1:])
	}
	return strings.Join(all, " ")
}

// sameThreads compares threads without the messages that are read differently.
// Where a thread has one of these its place among the others is free.
func (d difference) sameThreads() bool {
	var threads, plain [2][]string
	for i, text := range []string{d.ours, d.theirs} {
		for _, thread := range topThreads(text) {
			left, odd := d.withoutOdd(thread)
			if left != "" {
				threads[i] = append(threads[i], left)
			}
			if !odd {
				plain[i] = append(plain[i], left)
			}
		}
	}
	both := func(thread string) bool {
		return slices.Contains(plain[0], thread) && slices.Contains(plain[1], thread)
	}
	for i := range plain {
		plain[i] = slices.DeleteFunc(plain[i], func(thread string) bool { return !both(thread) })
		slices.Sort(threads[i])
	}
	return slices.Equal(threads[0], threads[1]) && slices.Equal(plain[0], plain[1])
}

// topThreads cuts the answer of THREAD into its threads.
func topThreads(text string) (threads []string) {
	depth, from := 0, 0
	for i, c := range text {
		switch c {
		case '(':
			if depth++; depth == 1 {
				from = i
			}
		case ')':
			if depth--; depth == 0 {
				threads = append(threads, text[from:i+1])
			}
		}
	}
	return threads
}

var aNumber = regexp.MustCompile(`\d+`)

// withoutOdd takes the odd messages out of a thread.
func (d difference) withoutOdd(thread string) (left string, odd bool) {
	left = aNumber.ReplaceAllStringFunc(thread, func(n string) string {
		if d.odd[n] {
			odd = true
			return ""
		}
		return n
	})
	for was := ""; was != left; {
		was = left
		left = strings.NewReplacer("( ", "(", " )", ")", "  ", " ", "()", "").Replace(left)
	}
	return left, odd
}

// isFound: what SEARCH, SORT or THREAD found.
func isFound(key string) bool {
	return isSearch(key) || key == "SORT" || key == "THREAD"
}

func isSearch(key string) bool { return key == "SEARCH" || strings.HasPrefix(key, "ESEARCH") }

func isStructure(key string) bool {
	return strings.HasSuffix(key, " BODYSTRUCTURE") || strings.HasSuffix(key, " BODY")
}

func keywordsBut(flags string) int {
	n := 0
	for _, f := range strings.Fields(strings.Trim(flags, "()")) {
		if f[0] != '\\' && f != "$Forwarded" {
			n++
		}
	}
	return n
}
