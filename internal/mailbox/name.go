package mailbox

import (
	"strconv"
	"strings"

	"github.com/emersion/go-maildir"
)

// infoSep begins the flags in a file name; it never stands in a base name, so
// Dovecot and we cut names at the same place.
const infoSep = ':'

// maxKeywords is the number of letters for keywords, a to z.
const maxKeywords = 26

// letters pairs each flag with its letter, in the order of a file name.
// Passed means $Forwarded.
var letters = [...]struct {
	flag   Flags
	letter byte
}{
	{Draft, byte(maildir.FlagDraft)},
	{Flagged, byte(maildir.FlagFlagged)},
	{Passed, byte(maildir.FlagPassed)},
	{Answered, byte(maildir.FlagReplied)},
	{Seen, byte(maildir.FlagSeen)},
	{Deleted, byte(maildir.FlagTrashed)},
}

// flagOf returns the flag of a letter, 0 for a letter that is none.
func flagOf(letter byte) Flags {
	for _, l := range letters {
		if l.letter == letter {
			return l.flag
		}
	}
	return 0
}

func isKeyword(c byte) bool { return 'a' <= c && c <= 'z' }

// splitName cuts a file name into its base, which identifies the message for
// as long as it lives, and the rest: "" or ":2,S" or whatever stands there.
func splitName[T []byte | string](name T) (base, info T) {
	for i := 0; i < len(name); i++ {
		if name[i] == infoSep {
			return name[:i], name[i:]
		}
	}
	return name, name[len(name):]
}

// parseInfo reads flags and keywords out of what follows the base. Anything
// that is not understood is passed over: a strange name must not hide a
// message. Foreign separators (";2,S", "!2,S") are read when base has them.
func parseInfo[T []byte | string](base, info T) (flags Flags, keywords uint64) {
	set := flagSet(info, infoSep)
	if len(info) == 0 {
		set = flagSet(base, ';')
		if len(set) == 0 {
			set = flagSet(base, '!')
		}
	}
	for i := 0; i < len(set) && set[i] != ','; i++ {
		if isKeyword(set[i]) {
			keywords |= 1 << (set[i] - 'a')
			continue
		}
		flags |= flagOf(set[i])
	}
	return flags, keywords
}

// flagSet returns what follows the last "<sep>2,", or nothing.
func flagSet[T []byte | string](s T, sep byte) T {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == sep {
			if i+2 < len(s) && s[i+1] == '2' && s[i+2] == ',' {
				return s[i+3:]
			}
			break
		}
	}
	return s[len(s):]
}

// appendInfo appends the canonical ":2,FLAGS" to dst.
func appendInfo(dst []byte, flags Flags, keywords uint64) []byte {
	dst = append(dst, ':', '2', ',')
	for _, l := range letters {
		if flags&l.flag != 0 {
			dst = append(dst, l.letter)
		}
	}
	for i := byte(0); keywords != 0 && i < maxKeywords; i++ {
		if keywords&(1<<i) != 0 {
			dst = append(dst, 'a'+i)
		}
	}
	return dst
}

// mergeInfo is appendInfo that keeps the letters of the old info that we do
// not know, each at its place in the alphabet, and a second set of flags.
func mergeInfo(old string, flags Flags, keywords uint64) string {
	fresh := appendInfo(nil, flags, keywords)
	set := flagSet(old, infoSep)
	set, rest, _ := strings.Cut(set, ",")
	for i := 0; i < len(set); i++ {
		if !isKeyword(set[i]) && flagOf(set[i]) == 0 {
			fresh = insertLetter(fresh, set[i])
		}
	}
	if rest != "" {
		fresh = append(append(fresh, ','), rest...)
	}
	return string(fresh)
}

// insertLetter puts c at its place among the letters of ":2,…".
func insertLetter(info []byte, c byte) []byte {
	at := 3
	for at < len(info) && info[at] <= c {
		if info[at] == c {
			return info
		}
		at++
	}
	info = append(info, 0)
	copy(info[at+1:], info[at:])
	info[at] = c
	return info
}

// sizesOf reads the sizes out of a base name: ",S=" octets on disk, ",W="
// octets with CRLF line ends; -1 where there is none.
func sizesOf(base string) (size, wire int64) {
	return sizeField(base, ",S="), sizeField(base, ",W=")
}

func sizeField(base, key string) int64 {
	i := strings.Index(base, key)
	if i < 0 {
		return -1
	}
	digits, _, _ := strings.Cut(base[i+len(key):], ",")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > maxMessage {
		return -1
	}
	return n
}

// maxMessage bounds what a file name or the uidlist may claim as a size.
const maxMessage = 1 << 40

// usable reports whether a directory entry can be a message under its name.
func usable(base []byte) bool {
	if len(base) == 0 {
		return false
	}
	for _, c := range base {
		if c == '\n' || c == '\r' {
			return false // Dovecot ignores these: they would break the uidlist
		}
	}
	return true
}

// deliveredBefore orders files as they were delivered: by the second, and by the
// microsecond where it is given ("1700000000.M123P4Q5.host"), then by name.
func deliveredBefore(a, b found) int {
	if a.sec != b.sec {
		return compare(a.sec, b.sec)
	}
	if a.usec != b.usec && a.usec >= 0 && b.usec >= 0 {
		return compare(a.usec, b.usec)
	}
	return strings.Compare(a.base, b.base)
}

func compare(a, b int64) int {
	if a < b {
		return -1
	}
	return 1
}

// deliveryTime returns the seconds and microseconds of a name, -1 for none.
func deliveryTime(base string) (sec, usec int64) {
	sec, rest := leadingInt(base)
	if strings.HasPrefix(rest, ".M") {
		usec, _ = leadingInt(rest[2:])
		return sec, usec
	}
	return sec, -1
}

func leadingInt(s string) (n int64, rest string) {
	i := 0
	for i < len(s) && i < 18 && '0' <= s[i] && s[i] <= '9' {
		n = n*10 + int64(s[i]-'0')
		i++
	}
	if i == 0 {
		return -1, s
	}
	return n, s[i:]
}
