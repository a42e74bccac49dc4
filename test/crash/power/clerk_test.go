package power_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"

	"peyk/test/imapwire"
)

// A clerk is the one IMAP client of an account. It does one thing after the
// other and keeps the book.
type clerk struct {
	*book
	c        *imapwire.Client
	r        *rand.Rand
	n        int
	selected string
	seen     uint32 // highest UID of INBOX that was learned
}

// clerkOn speaks over a connection that is logged in.
func clerkOn(b *book, conn net.Conn, seed uint64) (*clerk, error) {
	c, err := imapwire.New(conn, patience)
	if err != nil {
		return nil, err
	}
	return &clerk{book: b, c: c, r: rand.New(rand.NewPCG(seed, 1))}, nil
}

// logIn connects to imapd.
func logIn(b *book, addr string, seed uint64) (*clerk, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	k, err := clerkOn(b, conn, seed)
	if err != nil {
		return nil, err
	}
	_, err = k.ok("LOGIN " + b.name + "@" + domain + " secret")
	return k, err
}

// ok runs a command that must succeed.
func (k *clerk) ok(command string) (*imapwire.Answer, error) {
	a, err := k.c.Do(command)
	if err != nil {
		return nil, err
	}
	if a.Kind != "OK" {
		return nil, fmt.Errorf("%s: %.60q: %s", k.name, command, a.Line())
	}
	return a, nil
}

// keywords has more than fit into the letters of a file name.
const keywords = 30

// flags picks some.
func (k *clerk) flags() []string {
	all := []string{`\Seen`, `\Flagged`, `\Answered`, `\Draft`}
	k.r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	all = all[:k.r.IntN(3)]
	if k.r.IntN(3) == 0 {
		all = append(all, fmt.Sprintf("key%d", k.r.IntN(keywords)))
	}
	return all
}

// act does one thing at random.
func (k *clerk) act() error {
	switch k.r.IntN(12) {
	case 0, 1, 2:
		return k.append()
	case 3, 4, 5:
		return k.look()
	case 6, 7:
		return k.store()
	case 8:
		return k.copy()
	case 9:
		return k.move()
	case 10:
		return k.expunge()
	}
	return k.create()
}

// choose returns a folder that is there.
func (k *clerk) choose() string {
	var all []string
	for f := range k.now.folders {
		all = append(all, f)
	}
	slices.Sort(all)
	return all[k.r.IntN(len(all))]
}

func (k *clerk) append() error {
	k.n++
	id := fmt.Sprintf("append-%s-%d", k.name, k.n)
	to := arrival{k.choose(), letter{id, canonical(nil)}}
	flags := k.flags()
	to.flags = canonical(flags)
	o := &op{what: "APPEND " + id, put2: []arrival{to}}
	return k.do(o, func() error {
		a, err := k.ok(fmt.Sprintf("APPEND %s (%s) %s", to.folder, strings.Join(flags, " "), imapwire.Lit(string(compose(k.r, id)))))
		if err != nil {
			return err
		}
		return k.arrived(o, a.Response, []uint32{0}, 1)
	})
}

// arrived takes the UIDs of what an op brought from its APPENDUID or COPYUID.
// order holds the UIDs, in the source, of the op's arrivals.
func (k *clerk) arrived(o *op, r *imapwire.Response, order []uint32, at int) error {
	if r.Code != "APPENDUID" && r.Code != "COPYUID" {
		return fmt.Errorf("%s: no UIDs in %s", o.what, r.Line())
	}
	folder := o.put2[0].folder
	if err := k.hasValidity(folder, r.CodeArgs[0].Num()); err != nil {
		return err
	}
	source, uids := order, numbers(r.CodeArgs[at].Text)
	if at == 2 {
		source = numbers(r.CodeArgs[1].Text)
	}
	if len(source) != len(o.put2) || len(uids) != len(o.put2) {
		return fmt.Errorf("%s: %d messages, answered %s", o.what, len(o.put2), r.Line())
	}
	if o.put == nil {
		o.put = map[place]letter{}
	}
	for i, from := range source {
		n := slices.Index(order, from)
		if n < 0 {
			return fmt.Errorf("%s: UID %d was not asked for: %s", o.what, from, r.Line())
		}
		p := place{folder, uids[i]}
		o.put[p] = o.put2[n].letter
		k.told(p, o.put2[n].id)
	}
	return nil
}

// numbers expands a set of UIDs.
func numbers(set string) (all []uint32) {
	for part := range strings.SplitSeq(set, ",") {
		from, to, ranged := strings.Cut(part, ":")
		a, _ := strconv.ParseUint(from, 10, 32)
		b := a
		if ranged {
			b, _ = strconv.ParseUint(to, 10, 32)
		}
		for n := a; n <= b; n++ {
			all = append(all, uint32(n))
		}
	}
	return all
}

func (k *clerk) open(folder string) error {
	if k.selected == folder {
		return nil
	}
	k.selected = ""
	a, err := k.ok("SELECT " + folder)
	if err != nil {
		return err
	}
	k.selected = folder
	for _, r := range a.Data {
		if r.Code == "UIDVALIDITY" {
			return k.hasValidity(folder, r.CodeArgs[0].Num())
		}
	}
	return nil
}

// look asks for mail that came since.
func (k *clerk) look() error {
	if err := k.open("INBOX"); err != nil {
		return err
	}
	if _, err := k.ok("NOOP"); err != nil {
		return err
	}
	a, err := k.ok(fmt.Sprintf("UID FETCH %d:* (FLAGS BODY.PEEK[HEADER.FIELDS (X-ID)])", k.seen+1))
	if err != nil {
		return err
	}
	for _, r := range a.Data {
		if r.Kind == "FETCH" {
			k.learned(r)
		}
	}
	return nil
}

func (k *clerk) learned(r *imapwire.Response) {
	uid, _ := r.Item("UID")
	head, ok := r.Item("BODY[HEADER.FIELDS (X-ID)]")
	if !ok {
		return // it is about the flags of another
	}
	p := place{"INBOX", uint32(uid.Num())}
	if _, known := k.now.letters[p]; known {
		return
	}
	k.seen = max(k.seen, p.uid)
	k.learn(p, letter{strings.TrimSpace(strings.TrimPrefix(head.Text, "X-Id:")), flagsOf(r)})
}

func flagsOf(r *imapwire.Response) string {
	v, _ := r.Item("FLAGS")
	var all []string
	for _, f := range v.List {
		all = append(all, f.Text)
	}
	return canonical(all)
}

func set(places []place) string {
	var all []string
	for _, p := range places {
		all = append(all, fmt.Sprint(p.uid))
	}
	return strings.Join(all, ",")
}

// pick opens a folder with letters in it and picks some.
func (k *clerk) pick(n int) ([]place, error) {
	folder, places := k.some(k.r, n)
	if len(places) == 0 {
		return nil, nil
	}
	return places, k.open(folder)
}

func (k *clerk) store() error {
	places, err := k.pick(6)
	if err != nil || len(places) == 0 {
		return err
	}
	return k.storeOn(places, []string{"+", "-", ""}[k.r.IntN(3)], append(k.flags(), `\Seen`))
}

// flag changes nothing but the names of files.
func (k *clerk) flag() error {
	places, err := k.pick(6)
	if err != nil || len(places) == 0 {
		return err
	}
	return k.storeOn(places, "+", []string{`\Flagged`, `\Answered`, `\Draft`})
}

func (k *clerk) storeOn(places []place, sign string, flags []string) error {
	o := &op{what: "STORE " + set(places), put: map[place]letter{}}
	for _, p := range places {
		l := k.now.letters[p]
		l.flags = changed(l.flags, sign, flags)
		o.put[p] = l
	}
	return k.do(o, func() error {
		_, err := k.ok(fmt.Sprintf("UID STORE %s %sFLAGS.SILENT (%s)", set(places), sign, strings.Join(flags, " ")))
		return err
	})
}

// changed is what a STORE makes of flags.
func changed(old, sign string, flags []string) string {
	switch sign {
	case "+":
		return canonical(append(strings.Fields(old), flags...))
	case "-":
		return canonical(slices.DeleteFunc(strings.Fields(old), func(f string) bool {
			return slices.ContainsFunc(flags, func(g string) bool { return strings.EqualFold(f, g) })
		}))
	}
	return canonical(flags)
}

// arrivals are letters on their way to another folder, and their UIDs now.
func (k *clerk) arrivals(places []place, to string) (all []arrival, uids []uint32) {
	for _, p := range places {
		all, uids = append(all, arrival{to, k.now.letters[p]}), append(uids, p.uid)
	}
	return all, uids
}

func (k *clerk) copy() error {
	places, err := k.pick(4)
	if err != nil || len(places) == 0 {
		return err
	}
	to := k.choose()
	o := &op{what: "COPY " + set(places) + " to " + to}
	var order []uint32
	o.put2, order = k.arrivals(places, to)
	return k.do(o, func() error {
		a, err := k.ok("UID COPY " + set(places) + " " + to)
		if err != nil {
			return err
		}
		return k.arrived(o, a.Response, order, 2)
	})
}

func (k *clerk) move() error {
	places, err := k.pick(4)
	if err != nil || len(places) == 0 {
		return err
	}
	to := k.choose()
	if to == places[0].folder {
		return nil
	}
	o := &op{what: "MOVE " + set(places) + " to " + to, drop: places}
	var order []uint32
	o.put2, order = k.arrivals(places, to)
	return k.do(o, func() error {
		a, err := k.ok("UID MOVE " + set(places) + " " + to)
		if err != nil {
			return err
		}
		for _, r := range a.Data {
			if r.Code == "COPYUID" {
				return k.arrived(o, r, order, 2)
			}
		}
		return k.arrived(o, a.Response, order, 2)
	})
}

func (k *clerk) expunge() error {
	places, err := k.pick(3)
	if err != nil || len(places) == 0 {
		return err
	}
	if err := k.storeOn(places, "+", []string{`\Deleted`}); err != nil {
		return err
	}
	return k.do(&op{what: "EXPUNGE " + set(places), drop: places}, func() error {
		_, err := k.ok("UID EXPUNGE " + set(places))
		return err
	})
}

// folders bounds how many an account gets.
const folders = 6

func (k *clerk) create() error {
	if len(k.now.folders) >= folders {
		return k.look()
	}
	name := fmt.Sprintf("F%d", len(k.now.folders))
	err := k.do(&op{what: "CREATE " + name, folder: name}, func() error {
		_, err := k.ok("CREATE " + name)
		return err
	})
	if err != nil {
		return err
	}
	return k.do(&op{what: "SUBSCRIBE " + name, sub: name}, func() error {
		_, err := k.ok("SUBSCRIBE " + name)
		return err
	})
}
