package rows

import "testing"

func FuzzDecodingARowNeverPanics(f *testing.F) {
	f.Add([]byte(`{"uid":"a","wait_seconds":1e300,"steps":[{"start":"2026-03-03T12:00:00Z","watts":null}],"grams":null}`))
	f.Add([]byte(`{"wait_seconds":-1e300,"arrived":"0001-01-01T00:00:00+00:00","revised":null,"steps":null}`))
	f.Fuzz(func(_ *testing.T, written []byte) { _, _ = decode(written) })
}
