package rows

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
)

// record is a row of the table in JSON: the names are those of the columns.
type record struct {
	UID           text       `json:"uid"`
	Kind          text       `json:"kind"`
	Namespace     text       `json:"namespace"`
	Name          text       `json:"name"`
	Owner         text       `json:"owner"`
	Policy        text       `json:"policy"`
	Mode          text       `json:"mode"`
	Source        text       `json:"source"`
	Location      text       `json:"location"`
	OtherLocation text       `json:"other_location"`
	Arrived       time.Time  `json:"arrived"`
	LatestStart   *time.Time `json:"latest_start"`
	Released      time.Time  `json:"released"`
	Ended         time.Time  `json:"ended"`
	SeenEnd       bool       `json:"seen_end"`
	WaitSeconds   float64    `json:"wait_seconds"`
	Failed        bool       `json:"failed"`
	Energy        text       `json:"energy"`
	Units         number     `json:"units"`
	EmbodiedGrams number     `json:"embodied_grams"`
	CoreHours     number     `json:"core_hours"`
	Steps         []step     `json:"steps"`
	Joules        number     `json:"joules"`
	FailedJoules  number     `json:"failed_joules"`
	// These are null if they are not known.
	Grams       *number `json:"grams"`
	FailedGrams *number `json:"failed_grams"`
	OtherGrams  *number `json:"other_grams"`
	OracleGrams *number `json:"oracle_grams"`
}

// columns returns the columns that record has, and the type of each.
func columns() [][2]string {
	return [][2]string{
		{"uid", "text"}, {"kind", "text"}, {"namespace", "text"}, {"name", "text"}, {"owner", "text"},
		{"policy", "text"}, {"mode", "text"}, {"source", "text"}, {"location", "text"}, {"other_location", "text"},
		{"arrived", "timestamptz"}, {"latest_start", "timestamptz"}, {"released", "timestamptz"}, {"ended", "timestamptz"},
		{"seen_end", "boolean"}, {"wait_seconds", "double precision"}, {"failed", "boolean"}, {"energy", "text"},
		{"units", "double precision"}, {"embodied_grams", "double precision"}, {"core_hours", "double precision"},
		{"steps", "jsonb"}, {"joules", "double precision"}, {"failed_joules", "double precision"},
		{"grams", "double precision"}, {"failed_grams", "double precision"},
		{"other_grams", "double precision"}, {"oracle_grams", "double precision"},
		{"hash", "text"},
	}
}

// upsertStatement returns the statement that writes a document of rows. It leaves alone what is the
// same, and what knows more: another program may have written that since this one asked.
func upsertStatement() string {
	var names, typed, offered []string
	for _, column := range columns() {
		names = append(names, column[0])
		typed = append(typed, column[0]+" "+column[1])
		offered = append(offered, "excluded."+column[0])
	}
	list := strings.Join(names, ", ")
	return `INSERT INTO gridlatch_groups AS booked (` + list + `)
		SELECT ` + list + ` FROM jsonb_to_recordset(CAST(CAST($1 AS text) AS jsonb)) AS offered (` + strings.Join(typed, ", ") + `)
		ON CONFLICT (uid) DO UPDATE SET (` + list + `, revised) = ROW(` + strings.Join(offered, ", ") + `, now())
		WHERE booked.hash <> excluded.hash
			AND (booked.grams IS NULL OR excluded.grams IS NOT NULL)
			AND (booked.other_grams IS NULL OR excluded.other_grams IS NOT NULL)
			AND (booked.oracle_grams IS NULL OR excluded.oracle_grams IS NOT NULL)`
}

// encoded is a row that is ready to be written. The hash is of all values.
type encoded struct {
	uid, hash string
	json      []byte
}

// encode returns the rows of groups by UID, each UID once: the last group of a UID counts.
func encode(groups []ledger.Counted) ([]encoded, error) {
	rows := make([]encoded, 0, len(groups))
	for _, g := range groups {
		r := recordOf(g)
		written, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("encode a group: %w", err)
		}
		sum := sha256.Sum256(written)
		rows = append(rows, encoded{uid: r.UID.clean(), hash: hex.EncodeToString(sum[:16]), json: written})
	}
	// Two programs that write the same rows in the same order do not wait for each other.
	slices.Reverse(rows) // the last group of a UID comes first
	slices.SortStableFunc(rows, func(a, b encoded) int { return cmp.Compare(a.uid, b.uid) })
	return slices.CompactFunc(rows, func(a, b encoded) bool { return a.uid == b.uid }), nil
}

// document returns rows as one array in JSON, each with its hash.
func document(rows []encoded) string {
	var b strings.Builder
	for i, r := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"hash":"` + r.hash + `",`)
		b.Write(r.json[1:])
	}
	return "[" + b.String() + "]"
}

func recordOf(c ledger.Counted) record {
	g, a := c.Group, c.Account
	r := record{
		UID: text(g.UID), Kind: text(g.Kind), Namespace: text(g.Namespace), Name: text(g.Name), Owner: text(g.Owner),
		Policy: text(g.Policy), Mode: text(g.Mode), Source: text(g.Source), Location: text(g.Location), OtherLocation: text(g.OtherLocation),
		Arrived: instant(g.Arrived), Released: instant(g.Released), Ended: instant(g.Ended), SeenEnd: g.SeenEnd,
		WaitSeconds: g.Wait.Seconds(), Failed: g.Failed, Energy: text(g.Energy),
		Units: number(g.Units), EmbodiedGrams: number(g.EmbodiedGrams), CoreHours: number(g.CoreHours),
		Steps: []step{}, Joules: number(a.Joules), FailedJoules: number(a.FailedJoules),
		Grams: known(a.IsKnown, a.Grams), FailedGrams: known(a.IsKnown, a.FailedGrams),
		OtherGrams: known(a.IsCompared, a.OtherGrams), OracleGrams: known(a.HasOracle, a.OracleGrams),
	}
	if !g.LatestStart.IsZero() {
		latest := instant(g.LatestStart)
		r.LatestStart = &latest
	}
	for _, s := range g.Steps {
		r.Steps = append(r.Steps, step{instant(s.Start), instant(s.End), number(s.Watts), number(s.FailedWatts)})
	}
	return r
}

func (r record) counted() ledger.Counted {
	g := ledger.Group{
		UID: string(r.UID), Kind: string(r.Kind), Namespace: string(r.Namespace), Name: string(r.Name), Owner: string(r.Owner),
		Policy: string(r.Policy), Mode: ledger.Mode(r.Mode), Source: string(r.Source), Location: string(r.Location), OtherLocation: string(r.OtherLocation),
		Arrived: r.Arrived.UTC(), Released: r.Released.UTC(), Ended: r.Ended.UTC(), SeenEnd: r.SeenEnd,
		Wait: duration(r.WaitSeconds), Failed: r.Failed, Energy: energy.Source(r.Energy),
		Units: float64(r.Units), EmbodiedGrams: float64(r.EmbodiedGrams), CoreHours: float64(r.CoreHours),
	}
	if r.LatestStart != nil {
		g.LatestStart = r.LatestStart.UTC()
	}
	for _, s := range r.Steps {
		g.Steps = append(g.Steps, ledger.Step{Start: s.Start.UTC(), End: s.End.UTC(), Watts: float64(s.Watts), FailedWatts: float64(s.FailedWatts)})
	}
	a := ledger.Account{
		Joules: float64(r.Joules), FailedJoules: float64(r.FailedJoules),
		IsKnown: r.Grams != nil, IsCompared: r.OtherGrams != nil, HasOracle: r.OracleGrams != nil,
	}
	for to, from := range map[*float64]*number{
		&a.Grams: r.Grams, &a.FailedGrams: r.FailedGrams, &a.OtherGrams: r.OtherGrams, &a.OracleGrams: r.OracleGrams,
	} {
		if from != nil {
			*to = float64(*from)
		}
	}
	return ledger.Counted{Group: g, Account: a}
}

// step is a ledger.Step in JSON.
type step struct {
	Start       time.Time `json:"start"`
	End         time.Time `json:"end"`
	Watts       number    `json:"watts"`
	FailedWatts number    `json:"failed_watts"`
}

// text is a text whose JSON has only what PostgreSQL can store.
type text string

// clean returns the text in valid UTF-8 and without the character NUL.
func (t text) clean() string {
	return strings.ReplaceAll(strings.ToValidUTF8(string(t), "\uFFFD"), "\x00", "\uFFFD")
}

// MarshalText returns what clean returns.
func (t text) MarshalText() ([]byte, error) { return []byte(t.clean()), nil }

// number is a number that is null in JSON if it is none that sums can have.
type number float64

// maxNumber leaves the database room for differences.
const maxNumber = 1e300

func (n number) isUsable() bool { return math.Abs(float64(n)) <= maxNumber } // false for NaN, too

// MarshalJSON returns the number, or null.
func (n number) MarshalJSON() ([]byte, error) {
	if !n.isUsable() {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// known returns nil for a number that is not known or not usable.
func known(isKnown bool, value float64) *number {
	n := number(value)
	if !isKnown || !n.isUsable() {
		return nil
	}
	return &n
}

// instant returns an instant as JSON and PostgreSQL can have it: to the microsecond, in the years 1
// to 9999.
func instant(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Microsecond)
	switch {
	case t.Year() < 1:
		return time.Time{}
	case t.Year() > 9999:
		return time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
	}
	return t
}

// duration returns seconds as a duration. A number that somebody else has written may be too large.
func duration(seconds float64) time.Duration {
	nanoseconds := math.Round(seconds * float64(time.Second))
	switch {
	case math.IsNaN(nanoseconds):
		return 0
	case nanoseconds >= math.MaxInt64:
		return math.MaxInt64
	case nanoseconds <= math.MinInt64:
		return math.MinInt64
	}
	return time.Duration(nanoseconds)
}
