// Package rows keeps each group of work with its account in PostgreSQL, row by row, for auditors.
//
// Nothing is queued while the database cannot be reached. The pages of the ledger keep each group
// for three days, and Sync writes what the database lacks of them. So an outage of less than three
// days loses nothing.
package rows

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gridlatch/gridlatch/ledger"
)

const (
	// maxBatch bounds the rows of a statement, and so the memory that encoded rows take.
	maxBatch = 500
	// maxRefused is after how many rows that the database refuses Sync and Write give up.
	maxRefused = 20

	maxConnections = 2
	maxIdle        = time.Minute
	maxLifetime    = 30 * time.Minute

	statementTimeout = 30 * time.Second
	migrationTimeout = 10 * time.Minute
	// graceAfterTimeout is how much longer than the server the program waits, for a server that
	// hangs.
	graceAfterTimeout = 15 * time.Second
)

// Table is the table of groups. It is safe for concurrent use, also by several programs.
type Table struct {
	db     *sql.DB
	schema fs.FS
}

// Open returns the table of a database. It checks the configuration, and does not connect: the
// database may be down. It does not read the files either: a file that is missing or wrong, such as
// one of a Secret, does not keep a program from starting, and may be there or right later.
func Open(config Config) (*Table, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector{config})
	db.SetMaxOpenConns(maxConnections)
	db.SetMaxIdleConns(1)
	db.SetConnMaxIdleTime(maxIdle)
	db.SetConnMaxLifetime(maxLifetime)
	return &Table{db: db, schema: schemaFiles()}, nil
}

// Close closes all connections.
func (t *Table) Close() error { return t.db.Close() }

// Write writes groups with their accounts. A group that the table has already is revised, so that
// writing twice does no harm. After an error, some of the groups may be written.
func (t *Table) Write(ctx context.Context, groups []ledger.Counted) error {
	_, err := t.write(ctx, groups, func(_ context.Context, rows []encoded) ([]encoded, error) { return rows, nil })
	return err
}

// Sync writes those of the groups that the table lacks, or has with other values. It returns how
// many rows it has written, also with an error. Values that are known are never replaced by unknown
// ones: a program that has just started may not know the actual intensities yet.
func (t *Table) Sync(ctx context.Context, groups []ledger.Counted) (written int, err error) {
	return t.write(ctx, groups, t.lacking)
}

// write writes what a choice leaves of each batch.
func (t *Table) write(ctx context.Context, groups []ledger.Counted, choose func(context.Context, []encoded) ([]encoded, error)) (int, error) {
	if len(groups) == 0 {
		return 0, nil
	}
	if err := t.migrate(ctx); err != nil {
		return 0, err
	}
	written, refused := 0, &refusals{}
	for batch := range slices.Chunk(groups, maxBatch) {
		rows, err := encode(batch)
		if err != nil {
			return written, err
		}
		if rows, err = choose(ctx, rows); err != nil {
			return written, err
		}
		n, err := t.upsert(ctx, rows, refused)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, refused.err()
}

// lacking returns the rows that the table lacks, or has with other values.
func (t *Table) lacking(ctx context.Context, rows []encoded) ([]encoded, error) {
	uids := make([]string, len(rows))
	for i, r := range rows {
		uids[i] = r.uid
	}
	hashes := map[string]string{}
	err := t.within(ctx, statementTimeout, func(ctx context.Context, tx *sql.Tx) error {
		found, err := tx.QueryContext(ctx, "SELECT uid, hash FROM gridlatch_groups WHERE uid = ANY($1)", uids)
		if err != nil {
			return err
		}
		defer found.Close()
		for found.Next() {
			var uid, hash string
			if err := found.Scan(&uid, &hash); err != nil {
				return err
			}
			hashes[uid] = hash
		}
		return found.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("ask the database which groups it has: %w", err)
	}
	return slices.DeleteFunc(rows, func(r encoded) bool { return hashes[r.uid] == r.hash }), nil
}

// upsert writes rows in one transaction. If the database refuses the data, it writes the halves by
// themselves, so that one row does not keep out the others.
func (t *Table) upsert(ctx context.Context, rows []encoded, refused *refusals) (int, error) {
	if len(rows) == 0 {
		return 0, nil
	}
	written := 0
	err := t.within(ctx, statementTimeout, func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, upsertStatement(), document(rows))
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		written = int(n)
		return err
	})
	switch {
	case err == nil:
		return written, nil
	case !isAboutData(err):
		return 0, fmt.Errorf("write %d groups: %w", len(rows), err)
	case len(rows) > 1:
		first, err := t.upsert(ctx, rows[:len(rows)/2], refused)
		if err != nil {
			return first, err
		}
		second, err := t.upsert(ctx, rows[len(rows)/2:], refused)
		return first + second, err
	default:
		return 0, refused.add(rows[0].uid, err)
	}
}

// refusals counts the rows that the database refuses.
type refusals struct {
	count int
	first error
}

// add counts a row, and returns an error if there are too many.
func (r *refusals) add(uid string, err error) error {
	if r.count++; r.first == nil {
		r.first = fmt.Errorf("the group with the UID %s: %w", strconv.Quote(uid), err)
	}
	if r.count >= maxRefused {
		return r.err()
	}
	return nil
}

func (r *refusals) err() error {
	if r.count == 0 {
		return nil
	}
	return fmt.Errorf("the database refuses %d groups: %w", r.count, r.first)
}

// isAboutData reports whether the database refuses values, and not the statement as such.
func isAboutData(err error) bool {
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) || len(refusal.Code) != 5 {
		return false
	}
	// Data exceptions, violated constraints, exceeded limits of the server, and what triggers
	// raise.
	return slices.Contains([]string{"22", "23", "54", "P0"}, refusal.Code[:2])
}

// within does something in a transaction whose statements end after a time.
func (t *Table) within(ctx context.Context, timeout time.Duration, do func(context.Context, *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout+graceAfterTimeout)
	defer cancel()
	return t.transaction(ctx, nil, timeout, do)
}

// transaction is within without a limit on the side of the program. A timeout of 0 is none. The
// settings end with the transaction. So they also work behind a pooler, which gives away
// connections between transactions.
func (t *Table) transaction(ctx context.Context, options *sql.TxOptions, timeout time.Duration, do func(context.Context, *sql.Tx) error) error {
	tx, err := t.db.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // without effect after Commit
	milliseconds := strconv.FormatInt(timeout.Milliseconds(), 10)
	_, err = tx.ExecContext(ctx, `SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $1, true),
		set_config('TimeZone', 'UTC', true), set_config('extra_float_digits', '1', true)`, milliseconds)
	if err != nil {
		return err
	}
	if err := do(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}
