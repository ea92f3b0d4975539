package rows

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"time"

	"github.com/gridlatch/gridlatch/ledger"
)

// Row is what the table has of a group.
type Row struct {
	ledger.Counted
	// FirstBooked is when the row was written first. Revised is when the row has changed last; zero
	// if the row has never changed.
	FirstBooked, Revised time.Time
}

// Read calls each for all groups that ended in [since, until), in the order of their ends. A zero
// instant is no limit. The rows are streamed. Read stops at the first error of each, and returns
// it. It changes nothing, and needs only the right to read.
func (t *Table) Read(ctx context.Context, since, until time.Time, each func(Row) error) error {
	err := t.transaction(ctx, &sql.TxOptions{ReadOnly: true}, 0, func(ctx context.Context, tx *sql.Tx) error {
		if err := t.mustBeCurrent(ctx, tx); err != nil {
			return err
		}
		answer, err := tx.QueryContext(ctx, `SELECT CAST(to_jsonb(g) AS text) FROM gridlatch_groups g
			WHERE ended >= CAST(CAST($1 AS text) AS timestamptz) AND ended < CAST(CAST($2 AS text) AS timestamptz)
			ORDER BY ended, uid`, limit(since, "-infinity"), limit(until, "infinity"))
		if err != nil {
			return err
		}
		defer answer.Close()
		for answer.Next() {
			var written []byte
			if err := answer.Scan(&written); err != nil {
				return err
			}
			row, err := decode(written)
			if err != nil {
				return err
			}
			if err := each(row); err != nil {
				return err
			}
		}
		return answer.Err()
	})
	if err != nil {
		return fmt.Errorf("read the groups: %w", err)
	}
	return nil
}

// mustBeCurrent returns an error if the tables are not those of this program.
func (t *Table) mustBeCurrent(ctx context.Context, tx *sql.Tx) error {
	files, err := fs.Glob(t.schema, "*.sql")
	if err != nil {
		return err
	}
	version, err := versionOf(ctx, tx, len(files))
	if err == nil && version < len(files) {
		err = fmt.Errorf("the database has the tables of version %d, want %d: the controller of this version has not written yet", version, len(files))
	}
	return err
}

// limit returns an instant for PostgreSQL.
func limit(t time.Time, otherwise string) string {
	if t.IsZero() {
		return otherwise
	}
	return instant(t).Format(time.RFC3339Nano)
}

// decode reads a row in JSON.
func decode(written []byte) (Row, error) {
	var found struct {
		record
		FirstBooked time.Time  `json:"first_booked"`
		Revised     *time.Time `json:"revised"`
	}
	if err := json.Unmarshal(written, &found); err != nil {
		return Row{}, fmt.Errorf("decode a row: %w", err)
	}
	row := Row{Counted: found.counted(), FirstBooked: found.FirstBooked.UTC()}
	if found.Revised != nil {
		row.Revised = found.Revised.UTC()
	}
	return row, nil
}
