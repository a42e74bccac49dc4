package crash_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"peyk/test/crash/supervise"
)

// A deliverPath is one kind of mailbox.
type deliverPath struct {
	name     string
	to       []string
	settings []string
	forward  string // alice's .forward; HOME stands for her home
	places   func(w *world, text string) []int
}

// home is alice's home directory, where a path gives her one.
func (w *world) home() string { return w.dir + "/mail/home" }

// inMaildir counts a text in the new messages of a Maildir.
func inMaildir(dir, text string) (n int) {
	names, _ := filepath.Glob(dir + "/new/*")
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil && strings.HasSuffix(string(b), text) {
			n++
		}
	}
	return n
}

// in returns a count of one Maildir per recipient.
func in(dirs ...string) func(*world, string) []int {
	return func(w *world, text string) (all []int) {
		for _, dir := range dirs {
			all = append(all, inMaildir(w.dir+"/mail/"+dir, text))
		}
		return all
	}
}

const (
	alice  = "example.test/alice/Maildir"
	bob    = "example.test/bob/Maildir"
	atHome = "home/Maildir"
)

// inFile counts a text in a file of the home directory.
func inFile(name string) func(*world, string) []int {
	return func(w *world, text string) []int {
		b, _ := os.ReadFile(w.home() + "/" + name)
		return []int{strings.Count(string(b), text)}
	}
}

// inDrop counts a text in the drop.
func inDrop(w *world, text string) []int {
	names, _ := filepath.Glob(w.dir + "/spool/drop/new/*")
	n := 0
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil && strings.HasSuffix(strings.ReplaceAll(string(b), "\r\n", "\n"), text) {
			n++
		}
	}
	return []int{n}
}

var deliverPaths = []deliverPath{
	{name: "maildir", to: []string{"alice@example.test", "bob@example.test"}, places: in(alice, bob)},
	{name: "folder", to: []string{"alice+Work@example.test"}, places: in(alice + "/.Work")},
	{name: "quota", to: []string{"alice@example.test"}, settings: []string{"quota=10M"}, places: in(alice)},
	{name: "forward", to: []string{"alice@example.test"}, forward: "somebody@elsewhere.example\n", places: inDrop},
	{name: "forward keep", to: []string{"alice@example.test"}, forward: "\\alice, somebody@elsewhere.example\n",
		places: func(w *world, text string) []int { return []int{min(in(atHome)(w, text)[0], inDrop(w, text)[0])} }},
	{name: "mbox", to: []string{"alice@example.test"}, forward: "HOME/box\n", places: inFile("box")},
	{name: "program", to: []string{"alice@example.test"}, settings: []string{"forward-pipes=yes"}, forward: "\"|HOME/program\"\n", places: inFile("piped")},
}

func (p deliverPath) path() path {
	settings := p.settings
	if p.forward != "" {
		settings = append(settings, "HOME")
	}
	return path{name: "deliver " + p.name, settings: settings, prepare: p.prepare, learn: p.learn, try: p.try}
}

func (p deliverPath) prepare(w *world) {
	makeSpool(w)
	for _, dir := range []string{alice, bob} {
		w.fill(w.dir+"/mail/"+dir, 3)
		if _, err := w.look(w.dir + "/mail/" + dir); err != nil {
			w.Fatal(err)
		}
	}
	if p.forward == "" {
		return
	}
	w.write(w.home()+"/.forward", strings.ReplaceAll(p.forward, "HOME", w.home()))
	w.write(w.home()+"/program", "#!/bin/sh\nexec cat >>\"$HOME/piped\"\n")
	os.Chmod(w.home()+"/program", 0o700)
}

func (p deliverPath) learn(w *world) any {
	w.Helper()
	r := &run{world: w}
	p.try(r, nil)
	if len(r.problems) > 0 {
		w.Fatalf("without a fault: %q\n%s", r.problems, w.log())
	}
	return nil
}

func (p deliverPath) try(r *run, _ any) {
	s := &server{r: r, socket: "deliver.sock", word: "LHLO", start: func(f supervise.Fault) *supervise.Process {
		os.Remove(r.base + "/deliver.sock")
		return r.start(f, false, nil, "deliver", "-listen")
	}}
	s.p = s.start(r.fault)
	if err := s.connect(); err != nil {
		r.Fatalf("cannot begin: %v\n%s", err, r.log())
	}
	s.p.Arm()
	first, second := newLetter("first", 3000, p.to...), newLetter("second", 90_000, p.to...)
	sure := [][]bool{p.sendAll(r, s, "first", first), p.sendAll(r, s, "second", second)}
	s.stop()
	for i, l := range []letter{first, second} {
		for k, n := range p.places(r.world, strings.ReplaceAll(l.text, "\r\n", "\n")) {
			most := 1
			if r.killed() && !sure[i][k] {
				most = 2
			}
			if n < 1 || n > most {
				r.problem("%s has letter %d %d times", p.to[k], i+1, n)
			}
		}
	}
	p.tidy(r)
}

// sendAll sends a letter until each recipient has it, and says for whom the
// first attempt was enough.
func (p deliverPath) sendAll(r *run, s *server, what string, l letter) []bool {
	done, sure := make([]bool, len(l.to)), make([]bool, len(l.to))
	attempt := 0
	s.retry(what, func(t *talk) bool {
		attempt++
		t.do("RSET")
		part := letter{text: l.text}
		var which []int
		for i, to := range l.to {
			if !done[i] {
				part.to, which = append(part.to, to), append(which, i)
			}
		}
		replies, err := t.send(part, len(part.to))
		for i, reply := range replies {
			if strings.HasPrefix(reply, "5") {
				r.problem("refused for good: %s", reply)
			}
			if strings.HasPrefix(reply, "250") {
				done[which[i]], sure[which[i]] = true, attempt == 1
			}
		}
		if err == nil && !slices.Contains(done, false) {
			r.promised(s.p)
			return true
		}
		return false
	})
	return sure
}

// tidy looks for litter in all that deliver writes.
func (p deliverPath) tidy(r *run) {
	for _, dir := range []string{alice, bob} {
		r.cleanMaildir(r.dir + "/mail/" + dir)
	}
	if p.forward == "" {
		r.judgeSpool()
		return
	}
	r.judgeSpool("drop/new")
	for _, name := range listing(r.home()) {
		known := strings.HasPrefix(name, "Maildir") || slices.Contains([]string{".forward", "program", "box", "piped"}, name)
		if !known && !r.killed() && !strings.Contains(r.call.Name, "unlink") {
			r.problem("litter: %s", name)
		}
	}
	if _, err := os.Stat(r.home() + "/Maildir"); err == nil {
		r.cleanMaildir(r.home() + "/Maildir")
	}
}
