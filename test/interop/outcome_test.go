package interop_test

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"peyk/test/imapwire"
)

// An outcome is an answer in a form that can be compared: what was said about
// what. Order, human texts and numbers that may differ are gone.
type outcome map[string]string

// do runs a command. A line that begins with "!" is sent as it is, without
// its mark.
func (s *side) do(command string) (outcome, error) {
	a, err := s.Do(command)
	if err != nil {
		return nil, err
	}
	o := outcome{"tagged": a.Kind}
	s.text = a.Text
	if selects(command) {
		s.alive, s.next = nil, 0
	}
	for _, r := range a.Data {
		s.take(o, r)
	}
	s.code(o, a.Response)
	if len(s.alive) > 0 || o["expunged"] != "" {
		o["exists"] = strconv.Itoa(len(s.alive))
	}
	return o, nil
}

func selects(command string) bool {
	verb, _, _ := strings.Cut(command, " ")
	return verb == "SELECT" || verb == "EXAMINE" || verb == "CLOSE" || verb == "UNSELECT"
}

// take adds what one untagged response says.
func (s *side) take(o outcome, r *imapwire.Response) {
	switch r.Kind {
	case "OK", "NO", "BAD", "BYE":
		if r.Code != "" {
			s.code(o, r)
		}
	case "EXISTS":
		for len(s.alive) < int(r.Num) {
			s.alive = append(s.alive, s.next)
			s.next++
		}
	case "EXPUNGE":
		if i := int(r.Num) - 1; i < len(s.alive) {
			o["expunged"] += fmt.Sprintf(" %d", s.alive[i])
			o["expunged"] = sortWords(o["expunged"])
			s.alive = slices.Delete(s.alive, i, i+1)
		}
	case "FETCH":
		s.fetched(o, r)
	case "LIST", "LSUB":
		o[r.Kind+" "+foldInbox(r.Args[2].Text)] = listed(r)
	case "STATUS":
		for _, item := range r.Args[1].List {
			o["STATUS "+foldInbox(r.Args[0].Text)+" "+item.List[0].Text] = s.number(item.List[0].Text, item.List[1].String())
		}
	case "SEARCH":
		o["SEARCH"] = found(r.Args)
	case "ESEARCH":
		s.esearch(o, r)
	case "THREAD":
		list := imapwire.Value{Kind: imapwire.List, List: r.Args}.String()
		o[r.Kind] = list[1 : len(list)-1]
	case "SORT":
		o[r.Kind] = join(r.Args)
	case "FLAGS":
		o["FLAGS"] = flagSet(r.Args[0])
	case "VANISHED":
		o["VANISHED "+r.Args[0].String()] = r.Args[1].String()
	case "RECENT", "CAPABILITY":
	default:
		o[r.Kind] = join(r.Args)
	}
}

// found is a sorted list; how high a mod-sequence is, is free.
func found(args []imapwire.Value) string {
	if n := len(args); n > 0 && args[n-1].Kind == imapwire.List {
		return sortWords(join(args[:n-1])) + " MODSEQ"
	}
	return sortWords(join(args))
}

func (s *side) esearch(o outcome, r *imapwire.Response) {
	data := r.Args[2].List
	o["ESEARCH"] = r.Args[1].String()
	for i := 0; i+1 < len(data); i += 2 {
		o["ESEARCH "+data[i].Text] = s.number(data[i].Text, data[i+1].String())
	}
}

// number hides numbers that each server chooses for itself.
func (s *side) number(name, value string) string {
	switch name {
	case "UIDVALIDITY":
		return s.valid(value)
	case "HIGHESTMODSEQ", "MODSEQ":
		return "some"
	case "MAILBOXID":
		return "(some)"
	}
	return value
}

// valid gives each UIDVALIDITY the number of its first appearance.
func (s *side) valid(value string) string {
	if s.validity[value] == "" {
		s.validity[value] = fmt.Sprintf("validity %d", len(s.validity))
	}
	return s.validity[value]
}

func (s *side) code(o outcome, r *imapwire.Response) {
	switch r.Code {
	case "":
		return
	case "APPENDUID", "COPYUID":
		o["code "+r.Code] = s.valid(r.CodeArgs[0].Text) + " " + join(r.CodeArgs[1:])
	case "PERMANENTFLAGS":
		o["code "+r.Code] = flagSet(r.CodeArgs[0])
	case "UIDVALIDITY", "HIGHESTMODSEQ", "MAILBOXID":
		o["code "+r.Code] = s.number(r.Code, join(r.CodeArgs))
	case "CAPABILITY":
	default:
		o["code "+r.Code] = join(r.CodeArgs) + " "
	}
}

// fetched: a later value of an item takes the place of an earlier one.
func (s *side) fetched(o outcome, r *imapwire.Response) {
	for _, item := range r.Items {
		value := item.Value.String()
		switch item.Name {
		case "FLAGS":
			value = flagSet(item.Value)
		case "MODSEQ":
			value = "some"
		case "SAVEDATE":
			value = "a date"
		}
		o[fmt.Sprintf("FETCH %d %s", r.Num, item.Name)] = value
	}
}

func join(values []imapwire.Value) string {
	return strings.Trim(imapwire.Value{Kind: imapwire.List, List: values}.String(), "()")
}

func sortWords(s string) string {
	words := strings.Fields(s)
	sort.Slice(words, func(i, j int) bool {
		a, _ := strconv.Atoi(words[i])
		b, _ := strconv.Atoi(words[j])
		return a < b
	})
	return strings.Join(words, " ")
}

// flagSet is a sorted list of flags without \Recent, which says who looked
// first.
func flagSet(v imapwire.Value) string {
	var flags []string
	for _, f := range v.List {
		if !strings.EqualFold(f.Text, `\Recent`) {
			flags = append(flags, f.Text)
		}
	}
	slices.Sort(flags)
	return "(" + strings.Join(flags, " ") + ")"
}

func foldInbox(name string) string {
	if strings.EqualFold(name, "INBOX") {
		return "INBOX"
	}
	return name
}

// listed is a LIST without its name; whether a mailbox is marked is free.
func listed(r *imapwire.Response) string {
	var attrs []string
	for _, a := range r.Args[0].List {
		if name := strings.ToLower(a.Text); name != `\marked` && name != `\unmarked` {
			attrs = append(attrs, name)
		}
	}
	slices.Sort(attrs)
	return strings.Join(attrs, " ") + " " + join(append([]imapwire.Value{r.Args[1]}, r.Args[3:]...))
}
