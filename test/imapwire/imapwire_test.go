package imapwire

import (
	"strings"
	"testing"
)

// good are responses of the RFCs, and others that the grammar allows.
var good = []string{
	`* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN STARTTLS] hi`,
	`* PREAUTH IMAP4rev1 server logged in as Smith`,
	`* BYE Autologout; idle for too long`,
	`a047 NO [BADCHARSET (UTF-8 "US-ASCII")] no`,
	`a OK [PERMANENTFLAGS (\Deleted \Seen \*)] Limited`,
	`A003 OK [APPENDUID 38505 3955] APPEND completed`,
	`A004 OK [COPYUID 38505 304,319:320 3956:3958] Done`,
	`d NO [MODIFIED 7,9] Conditional STORE failed`,
	`* OK [HIGHESTMODSEQ 715194045007] ok`,
	`3 OK [MAILBOXID (F2212ea87-6097-4256-9d51-71338625)] ok`,
	`b NO [METADATA MAXSIZE 1024] too large`,
	`* OK [INPROGRESS ("A001" 454 1000)] working`,
	`* OK [INPROGRESS] working`,
	`* NO [NOUPDATE "B02"] no context`,
	`t NO [BADURL /INBOX;UIDVALIDITY=785799047/;UID=113330;section=1.5.9] no`,
	"+ ", "+ idling", "+ AGFsaWNl",
	`* CAPABILITY IMAP4rev2 STATUS=SIZE RIGHTS=texk`,
	`* ENABLED CONDSTORE`, `* ENABLED`,
	`* FLAGS (\Answered \Flagged $MDNSent Foo)`,
	`* 18 EXISTS`, `* 0 RECENT`, `* 44 EXPUNGE`,
	`* VANISHED 405,407,410:425`, `* VANISHED (EARLIER) 300:310`,
	`* SEARCH`, `* SEARCH 2 5 6 (MODSEQ 917162500)`, `* SORT 5 3 4`,
	`* ESEARCH (TAG "A282") MIN 2 COUNT 3`, `* ESEARCH`, `* ESEARCH UID COUNT 5`,
	`* ESEARCH (TAG "a") UID ALL 4:18,21 MODSEQ 3`,
	`* ESEARCH (TAG "B01") UID ADDTO (1 2733 1 2732:2731) REMOVEFROM (0 32768)`,
	`* ESEARCH (TAG "A01") UID PARTIAL (23500:24000 4,5)`, `* ESEARCH (TAG "A01") PARTIAL (-1:-100 NIL)`,
	`* ESEARCH (TAG "tag1" MAILBOX "folder1" UIDVALIDITY 1) UID ALL 4001,4003`,
	`* THREAD (2)(3 6 (4 23)(44 7 96))`, `* THREAD ((3)(5))`, `* THREAD`,
	`* LIST (\HasNoChildren \Sent) "/" Sent`, `* LIST () NIL "a b"`, "* LIST () \".\" {3}\r\na]\"",
	`* LIST (\Subscribed) "/" "Foo" ("CHILDINFO" ("SUBSCRIBED"))`, `* LIST () "/" New ("OLDNAME" (Old))`,
	`* LSUB (\Noselect) "." &ZeVnLIqe-.&-`,
	`* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292 SIZE 9223372036854775807 HIGHESTMODSEQ 0 MAILBOXID (a-_1) APPENDLIMIT NIL)`,
	`* NAMESPACE (("" "/")) (("~" "/" "X-P" ("a" "b"))) NIL`, `* ID NIL`, `* ID ("name" "Peyk" "x" NIL)`,
	`* ACL INBOX Fred rwipslda "a b" ""`, `* MYRIGHTS INBOX rwiptsldaex`, `* LISTRIGHTS ~/Mail/saved smith la r s w`,
	`* QUOTA "" (STORAGE 10 512 MESSAGE 20 100)`, `* QUOTA x ()`, `* QUOTAROOT INBOX ""`, `* QUOTAROOT comp.mail`,
	`* METADATA "INBOX" (/private/comment "My own comment" /shared/x NIL)`, `* METADATA "" /shared/comment /private/comment`,
	"* METADATA INBOX (/shared/x ~{2}\r\n\x00\r)",
	`* 23 FETCH (FLAGS (\Seen $x) UID 17 MODSEQ (624140003) RFC822.SIZE 44827 INTERNALDATE " 7-Jul-1996 02:44:25 -0700")`,
	"* 1 FETCH (BODY[] {2}\r\n\r\n BODY[1.2.MIME]<0> NIL BODY[HEADER.FIELDS (DATE \"x y\")] \"\" BODY[4.TEXT] \"\" BODY[HEADER] NIL BODY[3]<5> \"x\")",
	"* 1 FETCH (BINARY[1.2]<3> ~{1}\r\n\x00 BINARY.SIZE[1] 3 BINARY[] NIL)",
	`* 1 FETCH (EMAILID (M6d99ac3275bb4e) THREADID NIL SAVEDATE NIL PREVIEW "x")`,
	`* 25996 UIDFETCH (FLAGS ())`,
	`* 12 FETCH (ENVELOPE ("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "s" (("T G" NIL "gray" "cac.washington.edu")) NIL NIL ((NIL NIL "imap" "x")(NIL NIL "y" NIL)) NIL NIL NIL "<B@c>"))`,
	`* 1 FETCH (BODYSTRUCTURE ("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3028 92 NIL ("inline" ("filename" "x")) ("en" "de") NIL (1 ("x" 2)) 7))`,
	`* 1 FETCH (BODY (("TEXT" "PLAIN" NIL NIL NIL "7BIT" 1152 23)("APPLICATION" "x" NIL "<9@c>" "d" "BASE64" 4554) "MIXED"))`,
	`* 1 FETCH (BODYSTRUCTURE (("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 5 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 0 0) 1) "DIGEST" ("BOUNDARY" "x") NIL NIL))`,
}

// bad are responses that almost are ones.
var bad = []string{
	"* OK x\n", "* OK", "* OK \r\n", "* OK \x80\r\n", "*  OK x\r\n", "a MAYBE x\r\n", "+ok\r\n", "+\r\n",
	"* OK [NOSUCHCODE] x\r\n", "* OK [UIDNEXT 0] x\r\n", "* OK [UIDNEXT] x\r\n", "* OK [ALERT]\r\n", "* OK [ALERT x] x\r\n", "* OK [HIGHESTMODSEQ 9223372036854775808] x\r\n",
	"* OK [BADCHARSET ()] x\r\n", "* OK [COPYUID 1 2 *] x\r\n", "* OK [CAPABILITY ACL] x\r\n", "* OK [INPROGRESS (\"a\" 1 0)] x\r\n",
	"* CAPABILITY IMAP4rev1  X\r\n", "* CAPABILITY IMAP4rev1 X x\r\n", "* FLAGS (\\Seen  x)\r\n", "* FLAGS (a]b)\r\n",
	"* 0 EXPUNGE\r\n", "* 4294967296 EXISTS\r\n", "* 1 FETCH ()\r\n", "* 1 FETCH (UID 1 UID 1)\r\n", "* 1 FETCH (UID 0)\r\n", "* 1 FETCH (FLAGS (\\Seen \\seen))\r\n",
	"* 1 FETCH (FLAGS (\\*))\r\n", "* 1 FETCH (UID 1\r\n", "* 1 FETCH (UID 1))\r\n", "* 1 FETCH (X 1)\r\n", "* 1 FETCH (MODSEQ 1)\r\n", "* 1 FETCH (MODSEQ (0))\r\n",
	"* 1 FETCH (INTERNALDATE \"7-Jul-1996 02:44:25 -0700\")\r\n", "* 1 FETCH (INTERNALDATE \"32-Jul-1996 02:44:25 -0700\")\r\n", "* 1 FETCH (INTERNALDATE \"17-jul-1996 02:44:25 -0700\")\r\n",
	"* 1 FETCH (BODY[] {3}\r\na\x00b)\r\n", "* 1 FETCH (BODY[] {3}\r\nab)\r\n", "* 1 FETCH (BODY[] {3+}\r\nabc)\r\n", "* 1 FETCH (BODY[] abc)\r\n", "* 1 FETCH (BODY[MIME] NIL)\r\n",
	"* 1 FETCH (BODY[1.] NIL)\r\n", "* 1 FETCH (BODY[0] NIL)\r\n", "* 1 FETCH (BODY[1HEADER] NIL)\r\n", "* 1 FETCH (BODY[HEADER.FIELDS ()] NIL)\r\n", "* 1 FETCH (BODY[]<x> NIL)\r\n", "* 1 FETCH (BODY[] ~{0}\r\n)\r\n",
	"* 1 FETCH (PREVIEW \"a\\b\")\r\n", "* 1 FETCH (PREVIEW \"\xff\")\r\n", "* 1 FETCH (PREVIEW \"\x00\")\r\n", "* 1 FETCH (PREVIEW \"a\r\nb\")\r\n", "* 1 FETCH (EMAILID NIL)\r\n", "* 1 FETCH (EMAILID (a.b))\r\n",
	"* 1 FETCH (ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL))\r\n", "* 1 FETCH (ENVELOPE (NIL NIL () NIL NIL NIL NIL NIL NIL NIL))\r\n", "* 1 FETCH (ENVELOPE (NIL NIL ((NIL NIL NIL)) NIL NIL NIL NIL NIL NIL NIL))\r\n",
	"* 1 FETCH (ENVELOPE (NIL NIL ((NIL NIL NIL NIL) (NIL NIL NIL NIL)) NIL NIL NIL NIL NIL NIL NIL))\r\n",
	"* 1 FETCH (BODY (\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 1))\r\n", "* 1 FETCH (BODY (\"TEXT\" \"PLAIN\" () NIL NIL \"7BIT\" 1 1))\r\n", "* 1 FETCH (BODY (\"TEXT\" \"PLAIN\" NIL NIL NIL NIL 1 1))\r\n",
	"* 1 FETCH (BODY (\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 1 1 NIL))\r\n", "* 1 FETCH (BODY (\"MIXED\"))\r\n", "* 1 FETCH (BODY ((\"A\" \"B\" NIL NIL NIL \"7BIT\" 1)))\r\n", "* 1 FETCH (BODY (\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 1))\r\n",
	"* 1 FETCH (BODYSTRUCTURE (\"A\" \"B\" (\"x\") NIL NIL \"7BIT\" 1))\r\n",
	"* VANISHED *\r\n", "* VANISHED\r\n", "* VANISHED (EARLIER)\r\n", "* VANISHED 1:*\r\n", "* SEARCH 0\r\n", "* SEARCH 1 \r\n", "* SEARCH (MODSEQ 1)\r\n",
	"* ESEARCH (TAG \"a\") ALL\r\n", "* ESEARCH (TAG \"a\") MIN 0\r\n", "* ESEARCH (TAG \"a\") X 1\r\n", "* ESEARCH (TAG \"a\" MAILBOX x) COUNT 1\r\n", "* ESEARCH () COUNT 1\r\n",
	"* THREAD ()\r\n", "* THREAD (1)(2\r\n", "* THREAD (1 (2))\r\n", "* THREAD (1) (2)\r\n", "* THREAD (0)\r\n",
	"* LIST (\\Foo) \".\" a\r\n", "* LIST (\\HasChildren \\HasNoChildren) \".\" a\r\n", "* LIST () \"..\" a\r\n", "* LIST () \".\" a b\r\n", "* LIST () \".\" &AGE-\r\n", "* LIST () \".\" \"a&\"\r\n", "* LIST () \".\" &2AA-\r\n",
	"* LIST () \".\" {1}\r\n\xe9\r\n", "* LIST () \".\" a\"b\r\n", "* LIST () \".\" a (x y)\r\n", "* LIST () \".\" &ZeU-&ZeU-\r\n",
	"* STATUS a (UIDNEXT 0)\r\n", "* STATUS a (FOO 1)\r\n", "* STATUS a MESSAGES 1\r\n", "* NAMESPACE NIL NIL\r\n", "* NAMESPACE () NIL NIL\r\n", "* ID (\"a\")\r\n",
	"* ACL a b\r\n", "* MYRIGHTS a\r\n", "* QUOTA a (STORAGE 1)\r\n", "* METADATA a (/x \"y\")\r\n", "* METADATA a\r\n", "* FOO\r\n", "* 1 FOO\r\n", "* 1 FETCH (UID 1) \r\n",
}

func TestResponsesOfTheGrammar(t *testing.T) {
	for _, line := range good {
		all, err := ReadAll(strings.NewReader(line + "\r\n"))
		if err != nil || len(all) != 1 || all[0].Line() != line {
			t.Errorf("%q: %v", line, err)
		}
	}
	all, err := ReadAll(strings.NewReader(strings.Join(good, "\r\n") + "\r\n"))
	if err != nil || len(all) != len(good) {
		t.Errorf("all of them: %d of %d, %v", len(all), len(good), err)
	}
}

func TestEverythingElseFails(t *testing.T) {
	for _, line := range bad {
		if all, err := ReadAll(strings.NewReader(line)); err == nil {
			t.Errorf("%q is taken as %+v", line, all[0])
		}
	}
	for _, line := range good {
		for end := range len(line) + 1 { // every beginning of a response
			if end == 0 {
				continue
			}
			if _, err := ReadAll(strings.NewReader(line[:end])); err == nil {
				t.Errorf("%q, cut off, is taken", line[:end])
			}
		}
	}
}

func TestValuesAreWhatWasSent(t *testing.T) {
	r, err := NewReader(strings.NewReader("* 7 FETCH (UID 9 FLAGS (\\Seen a) BODY[header.fields (to)]<3> {4}\r\na\r\n\" ENVELOPE (NIL \"q\\\"\\\\\" NIL NIL NIL NIL NIL NIL NIL NIL))\r\n")).Read()
	if err != nil {
		t.Fatal(err)
	}
	body, _ := r.Item("BODY[HEADER.FIELDS (TO)]<3>")
	envelope, _ := r.Item("ENVELOPE")
	flags, _ := r.Item("FLAGS")
	if r.Num != 7 || body.Text != "a\r\n\"" || envelope.List[1].Text != `q"\` || flags.String() != `(\Seen a)` {
		t.Errorf("%+v", r)
	}
	r, err = NewReader(strings.NewReader("* THREAD (2)(3 6 (4 23)(44 7 96))\r\n")).Read()
	if err != nil || len(r.Args) != 2 || r.Args[1].String() != "(3 6 (4 23) (44 7 96))" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestNamesHaveOneForm(t *testing.T) {
	for _, name := range []string{"", "a", "&", "پیک", "a&پ&b", "\r\n\"\\", "台北 日本語", "😀.x"} {
		wire := EncodeName(name)
		if back, err := DecodeName(wire); err != nil || back != name {
			t.Errorf("%q is %q is %q: %v", name, wire, back, err)
		}
	}
}

// FuzzReader: any octets are read or refused, and what is read is the input.
func FuzzReader(f *testing.F) {
	for _, line := range good {
		f.Add([]byte(line + "\r\n"))
	}
	for _, line := range bad {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if strings.Contains(string(input), "{1000") {
			return // a literal that is only announced costs memory
		}
		all, err := ReadAll(strings.NewReader(string(input)))
		var raw []byte
		for _, r := range all {
			raw = append(raw, r.Raw...)
		}
		if !strings.HasPrefix(string(input), string(raw)) || err == nil && len(raw) != len(input) {
			t.Fatalf("%q is read as %q: %v", input, raw, err)
		}
	})
}
