package rows

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/test/postgres"
)

// later returns the schema with versions that are made up: each adds a table of its own.
func later(t *testing.T, versions int) fs.FS {
	t.Helper()
	files := fstest.MapFS{}
	known, err := fs.Glob(schemaFiles(), "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range known {
		text, err := fs.ReadFile(schemaFiles(), name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	for range versions {
		version := len(files) + 1
		files[fmt.Sprintf("%04d_more.sql", version)] = &fstest.MapFile{Data: fmt.Appendf(nil, `
			ALTER TABLE gridlatch_groups ADD COLUMN more%d text NOT NULL DEFAULT 'none; really';
			INSERT INTO gridlatch_schema (version) VALUES (%[1]d);`, version)}
	}
	return files
}

func some(uids ...string) []ledger.Counted {
	var groups []ledger.Counted
	for _, uid := range uids {
		groups = append(groups, ledger.Counted{Group: ledger.Group{UID: uid}})
	}
	return groups
}

func countOf(t *testing.T, table *Table) int {
	t.Helper()
	n := 0
	err := table.Read(t.Context(), time.Time{}, time.Time{}, func(Row) error { n++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheFilesOfTheSchemaAreNumbered(t *testing.T) {
	names, err := fs.Glob(schemaFiles(), "*")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d files: %v", len(names), err)
	}
	for i, name := range names {
		if want := fmt.Sprintf("%04d_", i+1); name[:5] != want {
			t.Errorf("file %s: want a name that begins with %s", name, want)
		}
	}
}

func TestMigrations(t *testing.T) {
	server := postgres.Start(t)
	opened := func(versions int) *Table {
		table, err := Open(Config{URL: server.URL()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = table.Close() })
		table.schema = later(t, versions)
		return table
	}
	first, newer := opened(0), opened(2)
	if _, err := first.Sync(t.Context(), some("a", "b")); err != nil {
		t.Fatal(err)
	}

	t.Run("ANewerProgramKeepsTheRows", func(t *testing.T) {
		if err := newer.Read(t.Context(), time.Time{}, time.Time{}, nil); err == nil {
			t.Error("read tables of an older version")
		}
		if written, err := newer.Sync(t.Context(), some("b", "c")); err != nil || written != 1 {
			t.Fatalf("wrote %d rows, want 1: %v", written, err)
		}
		if n := countOf(t, newer); n != 3 {
			t.Errorf("the table has %d rows, want 3", n)
		}
		if got := server.Query("SELECT string_agg(version::text, ' ' ORDER BY version) FROM gridlatch_schema"); got != "1 2 3" {
			t.Errorf("the versions are %s", got)
		}
	})
	t.Run("AnOlderProgramRefuses", func(t *testing.T) {
		_, err := first.Sync(t.Context(), some("d"))
		if !errors.Is(err, ErrNewerSchema) {
			t.Errorf("writing gives %v", err)
		}
		err = first.Read(t.Context(), time.Time{}, time.Time{}, func(Row) error { return nil })
		if !errors.Is(err, ErrNewerSchema) {
			t.Errorf("reading gives %v", err)
		}
		if n := countOf(t, newer); n != 3 {
			t.Errorf("the table has %d rows, want 3", n)
		}
	})
	t.Run("AFileThatFailsChangesNothing", func(t *testing.T) {
		broken := opened(3)
		files := broken.schema.(fstest.MapFS)
		files["0005_broken.sql"] = &fstest.MapFile{Data: []byte("DROP TABLE gridlatch_groups; SELECT 1 / 0;")}
		if _, err := broken.Sync(t.Context(), some("d")); err == nil {
			t.Error("no error")
		}
		if n := countOf(t, newer); n != 3 {
			t.Errorf("the table has %d rows, want 3", n)
		}
	})
	t.Run("AFileWithoutItsNumberIsRefused", func(t *testing.T) {
		nameless := opened(2)
		nameless.schema.(fstest.MapFS)["0004_nameless.sql"] = &fstest.MapFile{Data: []byte("CREATE TABLE extra ()")}
		if _, err := nameless.Sync(t.Context(), some("d")); err == nil {
			t.Error("no error")
		}
		if n := countOf(t, newer); n != 3 {
			t.Errorf("the table has %d rows, want 3", n)
		}
	})
}
