// Package corpus makes messages like those of the real world, good and bad,
// for tests that send them through the whole system. They are made, not
// collected, so they may be shipped; the same index gives the same bytes.
//
// Every message is in wire form: CRLF line ends, no bare CR or LF, no NUL, a
// CRLF at the end. Everything else is allowed and occurs.
package corpus

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
)

// A Message is one message of the corpus.
type Message struct {
	Name string // kind and number
	Text []byte // wire form
}

// kinds are the makers of messages; each is called with its own randomness.
var kinds = []struct {
	name  string
	count int
	make  func(*rand.Rand, int) string
}{
	{"plain", 20, plain},
	{"script", 40, script},
	{"eightbit", 20, eightBit},
	{"longline", 15, longLine},
	{"dots", 15, dots},
	{"alternative", 20, alternative},
	{"attachment", 20, attachment},
	{"nested", 20, nested},
	{"broken-mime", 30, brokenMIME},
	{"rfc2047", 25, encodedWords},
	{"rfc2231", 20, longParameters},
	{"headers", 20, hugeHeaders},
	{"broken-header", 25, brokenHeader},
	{"empty", 8, empty},
	{"addresses", 20, addresses},
	{"report", 10, report},
	{"large", 2, large},
}

// Messages yields the whole corpus.
func Messages() iter.Seq[Message] {
	return func(yield func(Message) bool) {
		for k, kind := range kinds {
			for i := range kind.count {
				r := rand.New(rand.NewPCG(uint64(k), uint64(i)))
				text := strings.ReplaceAll(kind.make(r, i), "\n", "\r\n")
				if !strings.HasSuffix(text, "\r\n") {
					text += "\r\n"
				}
				if !yield(Message{fmt.Sprintf("%s-%02d", kind.name, i), []byte(text)}) {
					return
				}
			}
		}
	}
}

// words of several scripts, some from right to left, some of several code
// points a letter, some outside the basic plane.
var words = [][]string{
	{"the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs"},
	{"سلام", "پیک", "نامه\u200cرسان", "می\u200cرود", "ایران", "فارسی", "کتاب", "یک"},
	{"مرحبا", "بريد", "رسالة", "العربية", "كتاب", "إلى"},
	{"שלום", "דואר", "עברית", "מכתב"},
	{"Привет", "почта", "письмо", "сервер"},
	{"Γειά", "ταχυδρομείο", "επιστολή"},
	{"你好", "邮件", "服务器", "信"},
	{"こんにちは", "メール", "サーバー", "手紙"},
	{"안녕하세요", "우편", "편지"},
	{"नमस्ते", "डाक", "पत्र"},
	{"สวัสดี", "จดหมาย", "ไปรษณีย์"},
	{"grüße", "straße", "naïve", "café", "ångström", "žluťoučký"},
	{"📬", "👩‍👩‍👧‍👦", "🇮🇷", "𝔪𝔞𝔦𝔩"},
}

func text(r *rand.Rand, script, n int) string {
	var b strings.Builder
	column := 0
	for range n {
		w := words[script][r.IntN(len(words[script]))]
		if column += len(w) + 1; column > 70 {
			b.WriteString("\n")
			column = 0
		}
		b.WriteString(w + " ")
	}
	return b.String() + "\n"
}

func head(r *rand.Rand, i int, subject, more string) string {
	return fmt.Sprintf("From: Sender %d <sender%d@example.net>\nTo: alice@example.test\nSubject: %s\nDate: Sun, 22 Nov 2026 %02d:%02d:%02d +0330\nMessage-ID: <%x@example.net>\n%s",
		i, i, subject, r.IntN(24), r.IntN(60), r.IntN(60), r.Uint64(), more)
}

const utf8Text = "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"

func plain(r *rand.Rand, i int) string {
	return head(r, i, "plain", "") + "\n" + text(r, 0, r.IntN(2000))
}

func script(r *rand.Rand, i int) string {
	n := i % len(words)
	return head(r, i, words[n][0], utf8Text) + "\n" + text(r, n, 50+r.IntN(500))
}

// eightBit is mail in old charsets, declared, undeclared and wrong.
func eightBit(r *rand.Rand, i int) string {
	charset := []string{"iso-8859-1", "windows-1256", "koi8-r", "gb2312", "shift_jis", "x-unknown", "", "utf-8"}[i%8]
	body := make([]byte, 200+r.IntN(800))
	for j := range body {
		if body[j] = byte(0xa0 + r.IntN(0x60)); j%60 == 59 {
			body[j] = '\n'
		}
	}
	more := "MIME-Version: 1.0\nContent-Type: text/plain; charset=" + charset + "\n"
	if charset == "" {
		more = ""
	}
	return head(r, i, "8bit \xe9\xe8", more) + "\n" + string(body)
}

func longLine(r *rand.Rand, i int) string {
	n := []int{998, 999, 1000, 2000, 2048, 4096, 8191, 8192, 8193, 16384, 65535, 65536, 65537, 200000, 1 << 20}[i]
	return head(r, i, "long line", "") + "\n" + strings.Repeat("x", n) + "\nend\n"
}

// dots is what dot-stuffing must leave as it was.
func dots(r *rand.Rand, i int) string {
	lines := []string{".", "..", "...", ".a", ". ", " .", "\t.", ".\t", "", "", "a.", "QUIT", "RSET", "DATA", "From me", ">From me"}
	var b strings.Builder
	for range 20 + r.IntN(40) {
		b.WriteString(lines[r.IntN(len(lines))] + "\n")
	}
	return head(r, i, "dots", "") + "\n" + b.String()
}

func alternative(r *rand.Rand, i int) string {
	n := i % len(words)
	b := fmt.Sprintf("=_alt%d", i)
	return head(r, i, "alternative", "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=\""+b+"\"\n") + "\npreamble\n--" + b + "\n" +
		"Content-Type: text/plain; charset=utf-8\n\n" + text(r, n, 80) + "\n--" + b + "\n" +
		"Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n<p>=D9=BE=DB=8C=DA=A9 soft=\n break</p>\n" +
		"--" + b + "--\nepilogue\n"
}

func encoded(r *rand.Rand, size int) string {
	raw := make([]byte, size)
	for j := range raw {
		raw[j] = byte(r.Uint32())
	}
	var b strings.Builder
	all := base64.StdEncoding.EncodeToString(raw)
	for len(all) > 76 {
		b.WriteString(all[:76] + "\n")
		all = all[76:]
	}
	return b.String() + all + "\n"
}

func attachment(r *rand.Rand, i int) string {
	return head(r, i, "attachment", "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b1\n") + "\n--b1\n\n" + text(r, 0, 30) +
		"\n--b1\nContent-Type: application/octet-stream; name=\"data.bin\"\nContent-Disposition: attachment; filename=\"data.bin\"; size=12\nContent-Transfer-Encoding: base64\n\n" +
		encoded(r, 1+r.IntN(60000)) + "--b1--\n"
}

// nested is multiparts and messages inside one another.
func nested(r *rand.Rand, i int) string {
	inner := "Content-Type: text/plain\n\ninnermost\n"
	for level := range 1 + i*6 {
		if level%3 == 2 {
			inner = "Content-Type: message/rfc822\n\nSubject: level " + fmt.Sprint(level) + "\nMIME-Version: 1.0\n" + inner
			continue
		}
		b := fmt.Sprintf("l%d", level)
		inner = "Content-Type: multipart/mixed; boundary=" + b + "\n\n--" + b + "\n" + inner + "\n--" + b + "--\n"
	}
	return head(r, i, "nested", "MIME-Version: 1.0\n") + inner
}

func brokenMIME(r *rand.Rand, i int) string {
	types := []string{
		"multipart/mixed", "multipart/mixed; boundary=", "multipart/mixed; boundary=\"", "multipart/mixed; boundary=\"\"", "multipart/; boundary=b",
		"text", "text/", "/plain", ";;;", "text/plain; charset=\"utf-8", "text/plain; charset", "text/plain;;;charset=utf-8", "message/rfc822",
		"multipart/mixed; boundary=" + strings.Repeat("b", 300), "multipart/digest; boundary=b", "message/partial; id=x; number=1; total=1",
		"message/external-body; access-type=local-file; name=\"/etc/passwd\"", "application/octet-stream; name*0*=utf-8''a; name*2=c", "=?utf-8?q?text/plain?=", "(comment) text/plain",
	}
	body := []string{"--b\n--b\n--b--\n", "--b\nContent-Type: text/plain\n", "--b\n\nunterminated\n", "--bb\n\nprefix\n--b\n\nreal\n--b--", "no boundary at all\n", "--b--\n--b\n\nafter the end\n"}[r.IntN(6)]
	more := "MIME-Version: 1.0\nContent-Type: " + types[i%len(types)] + "\nContent-Transfer-Encoding: " +
		[]string{"base64", "quoted-printable", "x-uuencode", "7bit", "binary", ""}[r.IntN(6)] + "\n"
	return head(r, i, "broken MIME", more) + "\n" + body + "=ZZ=4=\n!!!!not base64\n"
}

func encodedWords(r *rand.Rand, i int) string {
	samples := []string{
		"=?utf-8?B?2b7bjNqp?=", "=?UTF-8?q?=D9=BE=DB=8C=DA=A9?=", "=?iso-8859-1*fr?q?caf=E9?=", "=?utf-8?B?2b7b?= =?utf-8?B?jNqp?=",
		"=?utf-8?q?unterminated", "=?utf-8?x?bad?=", "=?no-such-charset?q?a?=", "=?utf-8?b?!!!?=", "=?utf-8?q??=", "=?utf-8?q?=00?=", "=?utf-8?q?=0D=0ABcc:_x?=",
		strings.Repeat("=?utf-8?q?a?= ", 200), "=?utf-8?b?" + strings.Repeat("QUFB", 100) + "?=",
	}
	s := samples[i%len(samples)]
	return head(r, i, s, "Cc: "+s+" <c@example.net>\nComments: "+s+"\n") + "\n" + s + "\n"
}

func longParameters(r *rand.Rand, i int) string {
	samples := []string{
		"filename*=utf-8'fa'%D9%BE%DB%8C%DA%A9.txt", "filename*0=\"a\"; filename*1=\"b\"; filename*2=\".txt\"", "filename*0*=utf-8''%D9%BE; filename*1*=%DB%8C; filename*2=x",
		"filename=\"پیک.txt\"", "filename=\"=?utf-8?B?2b7bjNqp?=.txt\"", "filename=\"a\\\"b.txt\"", "filename=a b c.txt", "filename*99999=x", "filename*0=a; filename*0=b",
		"filename=\"" + strings.Repeat("n", 900) + "\"", strings.Repeat("p=v; ", 200) + "filename=x",
	}
	return head(r, i, "parameters", "MIME-Version: 1.0\nContent-Type: application/pdf; name=\"x\"\nContent-Disposition: attachment;\n "+samples[i%len(samples)]+"\n") + "\nbody\n"
}

func hugeHeaders(r *rand.Rand, i int) string {
	var b strings.Builder
	switch i % 4 {
	case 0:
		for j := range 100 * (i + 1) {
			fmt.Fprintf(&b, "X-Field-%d: %s\n", j, strings.Repeat("v", r.IntN(200)))
		}
	case 1:
		b.WriteString("X-Folded:")
		for range 500 * (i + 1) {
			b.WriteString(" word\n\tfolded")
		}
		b.WriteString("\n")
	case 2:
		b.WriteString("X-Long: " + strings.Repeat("y", 20000*(i+1)) + "\n")
	case 3:
		b.WriteString("References:")
		for j := range 300 * (i + 1) {
			fmt.Fprintf(&b, "\n <%d@example.net>", j)
		}
		b.WriteString("\n")
	}
	return head(r, i, "huge header", b.String()) + "\nbody\n"
}

func brokenHeader(r *rand.Rand, i int) string {
	return []string{
		"no colon in this line\nSubject: after\n\nbody\n",
		" starts with a fold\nSubject: x\n\nbody\n",
		"Subject : space before colon\n\nbody\n",
		": no name\n\nbody\n",
		"Subject:\n\nempty value\n",
		"From me@example.net Sun Nov 22 10:00:00 2026\nSubject: mbox line\n\nbody\n",
		"Subject: a\nSubject: b\nFrom: a@example.net\nFrom: b@example.net\n\nbody\n",
		"Date: yesterday\nDate: Sun, 32 Foo 99999 25:61:61 +9999\n\nbody\n",
		"To: @@@,,,;;;<<<>>>\nCc: \"unterminated\nBcc: (((\n\nbody\n",
		"Subject: only a header\n",
		"\nonly a body\n",
		"Subject: tab\n\tfold\n \n still header?\n\nbody\n",
		"Received: from nowhere\nReturn-Path: <forged@example.net>\nDelivered-To: mallory@example.net\n\nbody\n",
		"Content-Length: 99999999\nLines: -1\nStatus: RO\nX-UID: 7\n\nbody\n",
		"S\xfcbject: eight bits in a name\n\nbody\n",
	}[i%15] + text(r, i%len(words), 5)
}

func empty(r *rand.Rand, i int) string {
	return []string{"\n", "\n\n", "\n\n\n\n", "Subject: x\n\n", " \n", "x\n", ".\n", "\t\n\t\n"}[i]
}

func addresses(r *rand.Rand, i int) string {
	samples := []string{
		"A group: a@example.net, \"B, C\" <b@example.net>;", "undisclosed-recipients:;", "\"quoted \\\" name\" <\"odd local\"@example.net>", "<@route.example,@other.example:a@example.net>",
		"a@[192.0.2.1], b@[IPv6:2001:db8::1]", "a (comment (nested)) @ example . net (more)", "پیک@مثال.إختبار", "=?utf-8?B?2b7bjNqp?= <a@example.net>", "a@b@c", "no at sign", "<>", ",,,",
		strings.TrimSuffix(strings.Repeat("someone@example.net, ", 500), ", "),
	}
	s := samples[i%len(samples)]
	return head(r, i, "addresses", "Cc: "+s+"\nReply-To: "+s+"\nSender: "+s+"\n") + "\nbody\n"
}

func report(r *rand.Rand, i int) string {
	return head(r, i, "Delivery Status Notification", "MIME-Version: 1.0\nAuto-Submitted: auto-replied\nContent-Type: multipart/report; report-type=delivery-status; boundary=r\n") +
		"\n--r\n\nIt failed.\n\n--r\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; a@example.net\nAction: failed\nStatus: 5.1.1\n\n" +
		"--r\nContent-Type: message/rfc822\n\nSubject: the original\n\n" + text(r, i%len(words), 20) + "--r--\n"
}

// large is an attachment of 25 MB, and a text of 10 MB in short lines.
func large(r *rand.Rand, i int) string {
	if i == 0 {
		return head(r, i, "large", "MIME-Version: 1.0\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n") + "\n" + encoded(r, 25<<20*3/4)
	}
	return head(r, i, "many lines", "") + "\n" + string(bytes.Repeat([]byte("y\n"), 5<<20))
}
