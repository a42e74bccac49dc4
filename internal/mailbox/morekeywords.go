package mailbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// moreName is the file of the keywords that have no letter: Dovecot knows 26.
// A line "26 Junk" names a bit, and ":17 5" says that message 17 has the bits
// 26 and 28; of two lines for one message the later counts.
//
//	1 V1275660208
//	26 Junk
//	:17 5
//
// It is durable, and changed under the lock of the uidlist only.
const moreName = "peyk-keywords"

// maxBits is how many keywords a folder can have in all.
const maxBits = 64

// letterBits are those of keywords that stand in file names.
const letterBits = 1<<maxKeywords - 1

const maxMoreFile = 256 << 20

// moreState is what a folder knows of the file.
type moreState struct {
	names    []string          // from bit 26 on
	bits     map[uint32]uint64 // by UID; never letterBits
	lines    int               // of messages
	validity uint32

	ino   uint64
	size  int64
	mtime int64
}

func (k *moreState) unchanged(path string) bool {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return k.ino == 0
	}
	return st.Ino == k.ino && st.Size == k.size && st.Mtim.Nano() == k.mtime
}

// load reads the file if it has changed. One that cannot be read, or is of
// another UIDVALIDITY, says nothing.
func (k *moreState) load(path string, validity uint32) {
	if k.unchanged(path) && (k.ino == 0 || k.validity == validity) {
		return
	}
	*k = moreState{validity: validity}
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer file.Close()
	var st unix.Stat_t
	if unix.Fstat(int(file.Fd()), &st) != nil || st.Size > maxMoreFile {
		return
	}
	text := make([]byte, st.Size)
	n, _ := file.ReadAt(text, 0)
	of := parseMore(string(text[:n]))
	k.ino, k.size, k.mtime = st.Ino, st.Size, st.Mtim.Nano()
	if of.validity == validity {
		k.names, k.bits, k.lines = of.names, of.bits, of.lines
	}
}

// parseMore reads the file. A line that makes no sense, as one that a power
// cut has torn, is passed over.
func parseMore(text string) (k moreState) {
	head, rest, _ := strings.Cut(text, "\n")
	if v, ok := strings.CutPrefix(head, "1 V"); ok {
		n, _ := strconv.ParseUint(v, 10, 32)
		k.validity = uint32(n)
	}
	k.bits = make(map[uint32]uint64)
	for line := range strings.Lines(rest) {
		number, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok || !strings.HasSuffix(line, "\n") {
			continue
		}
		if uid, isUID := strings.CutPrefix(number, ":"); isUID {
			k.message(uid, value)
			continue
		}
		i, err := strconv.Atoi(number)
		if err != nil || i < maxKeywords || i >= maxBits || checkKeyword(value) != nil {
			continue
		}
		k.name(i, value)
	}
	return k
}

func (k *moreState) message(uid, value string) {
	n, err := strconv.ParseUint(uid, 10, 32)
	bits, berr := strconv.ParseUint(value, 16, maxBits-maxKeywords)
	if err != nil || berr != nil || n == 0 {
		return
	}
	k.lines++
	k.set(uint32(n), bits<<maxKeywords)
}

func (k *moreState) set(uid uint32, bits uint64) {
	if bits == 0 {
		delete(k.bits, uid)
		return
	}
	k.bits[uid] = bits
}

func (k *moreState) name(i int, name string) {
	for len(k.names) <= i-maxKeywords {
		k.names = append(k.names, "")
	}
	k.names[i-maxKeywords] = name
}

// format writes the file.
func (k *moreState) format() []byte {
	text := fmt.Appendf(nil, "1 V%d\n", k.validity)
	for i, name := range k.names {
		if name != "" {
			text = fmt.Appendf(text, "%d %s\n", i+maxKeywords, name)
		}
	}
	for uid, bits := range k.bits {
		text = appendMore(text, uid, bits)
	}
	return text
}

func appendMore(text []byte, uid uint32, bits uint64) []byte {
	text = strconv.AppendUint(append(text, ':'), uint64(uid), 10)
	return append(strconv.AppendUint(append(text, ' '), bits>>maxKeywords, 16), '\n')
}

// keywordNamesNow returns the names of all bits.
func (f *Folder) keywordNamesNow() []string {
	letters, more := f.keywords.names, f.more.names
	if len(more) == 0 {
		return letters
	}
	all := make([]string, maxKeywords, maxBits)
	copy(all, letters)
	return append(all, more...)
}

func (f *Folder) loadKeywords() {
	f.keywords.load(f.path(keywordsName))
	f.more.load(f.path(moreName), f.ids.header.validity)
}

// addMore gives bits without a letter to names, under the lock of the uidlist.
func (f *Folder) addMore(lock *dotlock, names []string) error {
	used, given := f.usedLetters(), uint64(0)
	for _, name := range names {
		i := f.freeBit(used)
		if i == maxBits {
			used = f.bitsInUse() | given // others are not needed any more
			i = f.freeBit(used)
			if i == maxBits {
				i = f.unusedBit(used)
			}
		}
		if i == maxBits {
			f.more.ino = 1 // as the file has it
			f.more.load(f.path(moreName), f.ids.header.validity)
			return ErrKeywords
		}
		f.more.name(i, name)
		used, given = used|1<<i, given|1<<i
	}
	return f.rewriteMore(lock)
}

func (f *Folder) freeBit(used uint64) int {
	i := maxKeywords
	for i < maxBits && (i-maxKeywords < len(f.more.names) && f.more.names[i-maxKeywords] != "" || used&(1<<i) != 0) {
		i++
	}
	return i
}

// unusedBit finds a bit that has a name, but no message.
func (f *Folder) unusedBit(used uint64) int {
	i := maxKeywords
	for i < maxBits && used&(1<<i) != 0 {
		i++
	}
	return i
}

// bitsInUse returns the bits that messages have now.
func (f *Folder) bitsInUse() (used uint64) {
	if s := f.snap.Load(); s != nil {
		for _, m := range s.Messages.All() {
			used |= m.Keywords
		}
	}
	for _, bits := range f.more.bits {
		used |= bits
	}
	return used
}

// rewriteMore replaces the file by one without messages that are gone.
func (f *Folder) rewriteMore(lock *dotlock) error {
	if s := f.snap.Load(); s != nil {
		for uid := range f.more.bits {
			if _, ok := s.Messages.Index(uid); !ok && uid < s.UIDNext {
				delete(f.more.bits, uid)
			}
		}
	}
	if !lock.held() {
		return ErrLocked
	}
	f.more.validity = f.ids.header.validity
	path := f.path(moreName)
	err := f.host.o.Disk.ReplaceFile(path, f.more.format(), 0o600)
	f.more.ino = 1 // whatever is there now: read it
	f.more.load(path, f.ids.header.validity)
	return err
}

// moreBits is what a message has of keywords without a letter.
type moreBits struct {
	uid  uint32
	bits uint64
}

// saveMore makes keywords without a letter durable.
func (f *Folder) saveMore(lock *dotlock, changes []moreBits) error {
	path := f.path(moreName)
	f.more.load(path, f.ids.header.validity)
	var lines []byte
	for _, c := range changes {
		if f.more.bits[c.uid] != c.bits&^letterBits {
			lines = appendMore(lines, c.uid, c.bits)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	if f.more.bits == nil {
		f.more.bits = make(map[uint32]uint64)
	}
	for _, c := range changes {
		f.more.set(c.uid, c.bits&^letterBits)
	}
	if f.more.ino == 0 || f.more.lines > 2*len(f.more.bits)+64 || !endsLine(path) {
		return f.rewriteMore(lock)
	}
	if !lock.held() {
		return ErrLocked
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	err = errors.Join(f.host.o.Disk.Append(file, lines), file.Close())
	f.more.load(path, f.ids.header.validity)
	return err
}

// endsLine reports whether a file ends with a whole line.
func endsLine(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	var last [1]byte
	_, err = file.ReadAt(last[:], info.Size()-1)
	return err == nil && last[0] == '\n'
}

// applyMore gives messages the keywords that the file says they have.
func (f *Folder) applyMore(s *scan) {
	f.more.load(f.path(moreName), f.ids.header.validity)
	if len(f.more.bits) == 0 && f.usedLetters()&^letterBits == 0 {
		return
	}
	for i, m := range s.messages.All() {
		bits := f.more.bits[m.UID]
		s.used |= bits
		if m.Keywords&^letterBits != bits {
			s.messages.edit(i).Keywords = m.Keywords&letterBits | bits
		}
	}
}
