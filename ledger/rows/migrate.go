package rows

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
)

//go:embed schema/*.sql
var schema embed.FS

// migrationLock is the key of the advisory lock that migrations take: "gridlatch" in a few digits.
const migrationLock = 0x6772_6964

// schemaFiles returns the files that make the tables: 0001_NAME.sql, and on.
func schemaFiles() fs.FS {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return schema // cannot happen: the name is valid
	}
	return files
}

// ErrNewerSchema says that a newer version of Gridlatch has changed the tables.
var ErrNewerSchema = errors.New("the tables are of a newer version of Gridlatch")

// migrate brings the tables to the version of this program. If they have that version, it needs no
// right to change tables.
func (t *Table) migrate(ctx context.Context) error {
	files, err := fs.Glob(t.schema, "*.sql") // sorted
	if err != nil {
		return fmt.Errorf("list the versions of the schema: %w", err)
	}
	isCurrent := false
	err = t.within(ctx, statementTimeout, func(ctx context.Context, tx *sql.Tx) error {
		version, err := versionOf(ctx, tx, len(files))
		isCurrent = version == len(files)
		return err
	})
	if err == nil && !isCurrent {
		err = t.within(ctx, migrationTimeout, func(ctx context.Context, tx *sql.Tx) error { return t.apply(ctx, tx, files) })
	}
	if err != nil {
		return fmt.Errorf("prepare the tables: %w", err)
	}
	return nil
}

// apply applies the files that the tables lack. Other programs wait until this one is done.
func (t *Table) apply(ctx context.Context, tx *sql.Tx, files []string) error {
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", migrationLock); err != nil {
		return err
	}
	version, err := versionOf(ctx, tx, len(files))
	if err != nil {
		return err
	}
	for i := version; i < len(files); i++ {
		statements, err := fs.ReadFile(t.schema, files[i])
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, string(statements)); err != nil {
			return fmt.Errorf("apply %s: %w", files[i], err)
		}
		if version, err = versionOf(ctx, tx, len(files)); err != nil {
			return err
		}
		if version != i+1 {
			return fmt.Errorf("apply %s: gridlatch_schema has version %d after it, want %d", files[i], version, i+1)
		}
	}
	return nil
}

// versionOf returns the version of the tables; 0 if there are none. A version above the newest that
// is known is an error: what the columns mean then is not known.
func versionOf(ctx context.Context, tx *sql.Tx, newest int) (int, error) {
	// to_regclass would remember, from before the wait for the lock, that there is no such table.
	var isThere bool
	err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_class
		WHERE relname = 'gridlatch_schema' AND relkind = 'r' AND pg_catalog.pg_table_is_visible(oid))`).Scan(&isThere)
	if err != nil {
		return 0, err
	}
	if !isThere {
		return 0, nil
	}
	var version int
	if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM gridlatch_schema").Scan(&version); err != nil {
		return 0, err
	}
	if version > newest {
		return 0, fmt.Errorf("%w: gridlatch_schema has version %d, this program knows versions up to %d", ErrNewerSchema, version, newest)
	}
	return version, nil
}
