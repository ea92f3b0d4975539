package rows_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/rows"
	"github.com/gridlatch/gridlatch/test/postgres"
)

// queries are the queries of the page for auditors.
var queries = regexp.MustCompile("(?ms)^```sql\n(SELECT .*?)^```\n")

func thePagesQueriesRun(t *testing.T, server *postgres.Server) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "ledger-database.md"))
	if err != nil {
		t.Fatal(err)
	}
	table := open(t, rows.Config{URL: server.URL()})
	lost, agrees := full("lost"), plain("agrees", noon)
	syncNow(t, table, []ledger.Counted{lost, agrees})
	found := queries.FindAllStringSubmatch(string(page), -1)
	if len(found) < 6 {
		t.Fatalf("the page has %d queries", len(found))
	}
	for _, query := range found {
		got := server.Query(query[1])
		if strings.Contains(query[1], "by_steps") && (!strings.HasPrefix(got, "lost|") || strings.Contains(got, "agrees")) {
			t.Errorf("joules of the wrong rows differ from the steps: %q", got)
		}
	}
}

func thePageHasEveryColumn(t *testing.T, server *postgres.Server) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "ledger-database.md"))
	if err != nil {
		t.Fatal(err)
	}
	syncNow(t, open(t, rows.Config{URL: server.URL()}), []ledger.Counted{full("a")})
	for column := range strings.FieldsSeq(server.Query("SELECT column_name FROM information_schema.columns WHERE table_name = 'gridlatch_groups'")) {
		if !regexp.MustCompile("(?m)^\\| [^|]*`" + column + "`[^|]* \\|").Match(page) {
			t.Errorf("docs/ledger-database.md has no row for the column %s", column)
		}
	}
}
