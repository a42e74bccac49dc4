package doc_test

import (
	"os"
	"testing"

	"peyk/test/sandbox"
)

func TestMain(m *testing.M) { os.Exit(sandbox.Main(m)) }
