package rows_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/rows"
	"github.com/gridlatch/gridlatch/test/postgres"
)

func TestTheDatabaseNeedNotBeUp(t *testing.T) {
	table := open(t, rows.Config{URL: "postgres://u:s3cr3t@127.0.0.1:1/ledger"})
	written, err := table.Sync(t.Context(), []ledger.Counted{plain("a", noon)})
	if written != 0 || err == nil || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("wrote %d rows, error: %v", written, err)
	}
}

// TestAnOutageLosesNothingAndDoublesNothing lets the server crash again and again while a writer
// offers groups, revises them, and offers new ones.
func TestAnOutageLosesNothingAndDoublesNothing(t *testing.T) {
	server := postgres.Start(t)
	table := open(t, rows.Config{URL: server.URL()})
	var groups []ledger.Counted
	for i := range 3000 {
		groups = append(groups, plain(fmt.Sprintf("g%05d", i), noon))
	}
	crashes, failures := 4, 0
	for round := range crashes {
		for i := range groups {
			groups[i].Account = ledger.Account{Joules: 18000, IsKnown: true, Grams: float64(round)}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		done := make(chan error, 1)
		go func() {
			_, err := table.Sync(ctx, groups)
			done <- err
		}()
		waitFor(t, server, round)
		server.Stop("immediate")
		if err := <-done; err != nil {
			failures++
		}
		if written, err := table.Sync(ctx, groups); err == nil || written != 0 {
			t.Errorf("round %d: wrote %d rows to a server that is down", round, written)
		}
		server.Start()
		partly, _ := strconv.Atoi(server.Query(fmt.Sprintf("SELECT count(*) FROM gridlatch_groups WHERE grams = %d", round)))
		t.Logf("round %d: %d of %d groups were committed before the crash", round, partly, len(groups))
		written, err := table.Sync(ctx, groups)
		if err != nil || written != len(groups)-partly {
			t.Errorf("round %d: wrote %d of the %d rows that were missing: %v", round, written, len(groups)-partly, err)
		}
		cancel()
		query := fmt.Sprintf("SELECT count(*), count(DISTINCT uid), count(*) FILTER (WHERE grams = %d) FROM gridlatch_groups", round)
		want := fmt.Sprintf("%d|%[1]d|%[1]d", len(groups))
		if got := server.Query(query); got != want {
			t.Errorf("round %d: rows, different rows and revised rows are %s, want %s", round, got, want)
		}
		for range 100 {
			groups = append(groups, plain(fmt.Sprintf("g%05d", len(groups)), noon))
		}
	}
	if failures == 0 {
		t.Error("the writer was never interrupted: the test shows nothing")
	}
}

// waitFor returns when some rows of a round are there, and others most likely not.
func waitFor(t *testing.T, server *postgres.Server, round int) {
	t.Helper()
	query := fmt.Sprintf(`SELECT EXISTS (SELECT FROM gridlatch_groups WHERE grams = %d)`, round)
	if round == 0 { // there is no table yet
		query = "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'gridlatch_groups')"
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if server.Query(query) == "t" {
			return
		}
	}
	t.Fatal("the writer does not write")
}
