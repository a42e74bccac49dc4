package doc_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestLogManualHoldsEveryKey compares the keys of each call that logs an event
// with those that peyk-log.7 names behind it.
func TestLogManualHoldsEveryKey(t *testing.T) {
	documented, values := documentedKeys(page(t, "peyk-log.7")), eventValues(t)
	sources(t, "internal", func(path, text string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, 0)
		if err != nil {
			t.Error(err)
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			event, keys := logged(n)
			for _, key := range keys {
				if !slices.Contains(documented[values[event]], key) {
					t.Errorf("%s: peyk-log.7 does not say that %s carries %s", path, values[event], key)
				}
			}
			return true
		})
	})
}

// logged returns the constant and the literal keys of a call of Log.Event.
func logged(n ast.Node) (event string, keys []string) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return "", nil
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || method.Sel.Name != "Event" {
		return "", nil
	}
	constant, ok := call.Args[0].(*ast.SelectorExpr)
	if !ok {
		return "", nil
	}
	for i := 1; i < len(call.Args); i += 2 {
		if key, ok := call.Args[i].(*ast.BasicLit); ok {
			name, _ := strconv.Unquote(key.Value)
			keys = append(keys, name)
		}
	}
	return constant.Sel.Name, keys
}

// eventValues returns the names of the events by those of their constants.
func eventValues(t *testing.T) map[string]string {
	t.Helper()
	constant := regexp.MustCompile(`(?m)(\w+)\s+Event\s+= "([a-z-]+)"`)
	values := map[string]string{}
	sources(t, "internal/eventlog", func(_, text string) {
		for _, m := range constant.FindAllStringSubmatch(text, -1) {
			values[m[1]] = m[2]
		}
	})
	return values
}

// documentedKeys returns the keys that a page names behind each event.
func documentedKeys(text string) map[string][]string {
	keys := map[string][]string{}
	event := ""
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, ".It Li "); ok {
			event = strings.TrimSpace(name)
		} else if list, ok := strings.CutPrefix(line, ".Pq Cm "); ok {
			keys[event] = strings.Fields(strings.ReplaceAll(list, " ,", " "))
		}
	}
	return keys
}
