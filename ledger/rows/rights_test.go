package rows_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/rows"
	"github.com/gridlatch/gridlatch/test/postgres"
)

func fewRights(t *testing.T, server *postgres.Server) {
	syncNow(t, open(t, rows.Config{URL: server.URL()}), []ledger.Counted{plain("a", noon)})
	server.Exec(postgres.Database, "DROP ROLE IF EXISTS writer", "CREATE ROLE writer LOGIN PASSWORD 'secret'",
		"GRANT USAGE ON SCHEMA public TO writer", "GRANT SELECT ON gridlatch_schema TO writer", "GRANT SELECT, INSERT, UPDATE ON gridlatch_groups TO writer")
	t.Cleanup(func() { server.Exec(postgres.Database, "DROP OWNED BY writer", "DROP ROLE writer") })
	table := open(t, rows.Config{URL: server.AddressOf("writer", "secret", postgres.Database)})
	a := plain("a", noon)
	a.Account.IsKnown = true
	if n := syncNow(t, table, []ledger.Counted{a, plain("b", noon)}); n != 2 {
		t.Errorf("wrote %d rows", n)
	}
}

func readOnly(t *testing.T, server *postgres.Server) {
	syncNow(t, open(t, rows.Config{URL: server.URL()}), []ledger.Counted{plain("a", noon)})
	server.Exec(postgres.Database, "DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN PASSWORD 'secret'",
		"GRANT USAGE ON SCHEMA public TO reader", "GRANT SELECT ON gridlatch_schema, gridlatch_groups TO reader")
	t.Cleanup(func() { server.Exec(postgres.Database, "DROP OWNED BY reader", "DROP ROLE reader") })
	table := open(t, rows.Config{URL: server.AddressOf("reader", "secret", postgres.Database)})
	if found := read(t, table, time.Time{}, time.Time{}); len(found) != 1 {
		t.Errorf("read %d rows", len(found))
	}
	if _, err := table.Sync(t.Context(), []ledger.Counted{plain("b", noon)}); err == nil {
		t.Error("a reader wrote")
	}
	empty(server)
	err := table.Read(t.Context(), time.Time{}, time.Time{}, func(rows.Row) error { return nil })
	if err == nil {
		t.Error("no error without tables")
	}
}

func wrongPassword(t *testing.T, server *postgres.Server) {
	const secret = "s3cr/et p@ss"
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]rows.Config{
		"in the URL":  {URL: server.AddressOf(postgres.User, secret, postgres.Database)},
		"in a file":   {URL: server.URL(), PasswordFile: file},
		"in a query":  {URL: strings.Replace(server.AddressOf("x", "", postgres.Database), "x:@", "", 1) + "&user=gridlatch&password=s3cr%2Fet+p%40ss"},
		"as the user": {URL: server.AddressOf(secret, secret, postgres.Database)},
	} {
		_, err := open(t, config).Sync(t.Context(), []ledger.Counted{plain("a", noon)})
		if err == nil || !strings.Contains(err.Error(), "28P01") {
			t.Errorf("%s: the error is %v, want that the server refuses the password", name, err)
			continue
		}
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "s3cr") || strings.Contains(text, server.Password) {
			t.Errorf("%s: the error has the password: %s", name, text)
		}
	}
}

func passwordChanges(t *testing.T, server *postgres.Server) {
	server.Exec(postgres.Database, "DROP ROLE IF EXISTS changing", "CREATE ROLE changing SUPERUSER LOGIN PASSWORD 'old'")
	t.Cleanup(func() { server.Exec(postgres.Database, "DROP OWNED BY changing CASCADE", "DROP ROLE changing") })
	file := filepath.Join(t.TempDir(), "url")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(server.AddressOf("changing", password, postgres.Database)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	table := open(t, rows.Config{URLFile: file})
	syncNow(t, table, []ledger.Counted{plain("a", noon)})
	server.Exec(postgres.Database, "ALTER ROLE changing PASSWORD 'new'", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'changing'")
	// The first use may find that its connection has ended.
	_, _ = table.Sync(t.Context(), []ledger.Counted{plain("b", noon)})
	if _, err := table.Sync(t.Context(), []ledger.Counted{plain("b", noon)}); err == nil || !strings.Contains(err.Error(), "28P01") {
		t.Fatalf("the old password gives %v", err)
	}
	write("new")
	syncNow(t, table, []ledger.Counted{plain("b", noon)})
}

func tlsIsRequired(t *testing.T, server *postgres.Server) {
	t.Setenv("PGSSLMODE", "")
	address, _, _ := strings.Cut(server.URL(), "?")
	if _, err := open(t, rows.Config{URL: address}).Sync(t.Context(), []ledger.Counted{plain("a", noon)}); err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("the error is %v, want one about TLS", err)
	}
	t.Setenv("PGSSLMODE", "disable")
	syncNow(t, open(t, rows.Config{URL: address}), []ledger.Counted{plain("a", noon)})
}

func serverHangs(t *testing.T, server *postgres.Server) {
	table := open(t, rows.Config{URL: server.URL()})
	syncNow(t, table, []ledger.Counted{plain("a", noon)})
	thaw := server.Freeze()
	defer thaw()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	start := time.Now()
	if _, err := table.Sync(ctx, []ledger.Counted{plain("b", noon)}); err == nil {
		t.Error("wrote to a server that hangs")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("ended after %v", took)
	}
	thaw()
	syncNow(t, table, []ledger.Counted{plain("b", noon)})
}
