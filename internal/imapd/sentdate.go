package imapd

import (
	"strings"
	"time"
)

// A sentDate is what a Date field says (RFC 5322 §3.3, §4.3).
type sentDate struct {
	day  int   // days since 1970, as written
	unix int64 // seconds since 1970, by universal time
}

// parseSent reads a Date field. A zone that cannot be understood is UTC, a
// time that cannot be is midnight (RFC 5256 §2.2).
func parseSent(value string) (d sentDate, ok bool) {
	x := dateLexer{s: value}
	word := x.next()
	if len(word) > 0 && !isDigit(word[0]) { // the day of the week
		word = x.next()
		if word == "," {
			word = x.next()
		}
	}
	day, ok := number(word, 1, 2)
	if !ok {
		return d, false
	}
	month := monthOf(x.next())
	year, ok := yearOf(x.next())
	if !ok || month == 0 || day < 1 || day > daysIn(month, year) {
		return d, false
	}
	d.day = int(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / 86400)
	d.unix = int64(d.day) * 86400
	if seconds, ok := x.clock(); ok {
		d.unix += int64(seconds) - int64(zoneOf(x.next()))
	}
	return d, true
}

// A dateLexer takes words, numbers and signs; blanks and comments are
// skipped.
type dateLexer struct{ s string }

func (x *dateLexer) next() string {
	x.skip()
	if x.s == "" {
		return ""
	}
	n := 1
	if isDateChar(x.s[0]) || x.s[0] == '+' || x.s[0] == '-' {
		for n < len(x.s) && isDateChar(x.s[n]) && isDigit(x.s[n]) == isDigit(x.s[n-1]) || n == 1 && n < len(x.s) && !isDateChar(x.s[0]) && isDigit(x.s[n]) {
			n++
		}
	}
	word := x.s[:n]
	x.s = x.s[n:]
	return word
}

func isDateChar(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }

func (x *dateLexer) skip() {
	for depth := 0; x.s != ""; x.s = x.s[1:] {
		switch c := x.s[0]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0 && len(x.s) > 1:
			x.s = x.s[1:]
		case depth > 0 || c == ' ' || c == '\t':
		default:
			return
		}
	}
}

// clock takes hh:mm or hh:mm:ss.
func (x *dateLexer) clock() (seconds int, ok bool) {
	var parts [3]int
	for i, most := range []int{23, 59, 60} {
		n, ok := number(x.next(), 1, 2)
		if !ok || n > most {
			return 0, false
		}
		parts[i] = n
		x.skip()
		if i == 2 || !strings.HasPrefix(x.s, ":") {
			if i == 0 {
				return 0, false
			}
			break
		}
		x.next()
	}
	return parts[0]*3600 + parts[1]*60 + parts[2], true
}

// number reads a number of so many digits.
func number(word string, least, most int) (n int, ok bool) {
	if len(word) < least || len(word) > most {
		return 0, false
	}
	for i := range len(word) {
		if !isDigit(word[i]) {
			return 0, false
		}
		n = 10*n + int(word[i]-'0')
	}
	return n, true
}

func monthOf(word string) time.Month {
	if len(word) < 3 {
		return 0
	}
	const names = "janfebmaraprmayjunjulaugsepoctnovdec"
	i := strings.Index(names, strings.ToLower(word[:3]))
	if i < 0 || i%3 != 0 {
		return 0
	}
	return time.Month(i/3 + 1)
}

// yearOf reads a year; those of two or three digits are of RFC 5322 §4.3.
func yearOf(word string) (year int, ok bool) {
	year, ok = number(word, 2, 4)
	switch {
	case len(word) == 2 && year < 50:
		year += 2000
	case len(word) < 4:
		year += 1900
	}
	return year, ok
}

func daysIn(month time.Month, year int) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// zoneOf returns the seconds east of UTC.
func zoneOf(word string) int {
	if word == "" {
		return 0
	}
	if n, ok := number(word[1:], 4, 4); ok && (word[0] == '+' || word[0] == '-') && n%100 <= 60 && n/100 <= 24 {
		seconds := (n/100*60 + n%100) * 60
		if word[0] == '-' {
			return -seconds
		}
		return seconds
	}
	const hour = 3600
	switch strings.ToUpper(word) { // RFC 5322 §4.3
	case "EDT":
		return -4 * hour
	case "EST", "CDT":
		return -5 * hour
	case "CST", "MDT":
		return -6 * hour
	case "MST", "PDT":
		return -7 * hour
	case "PST":
		return -8 * hour
	}
	return 0
}
