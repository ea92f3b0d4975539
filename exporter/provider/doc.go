// Package provider asks those who know the grid: what the intensity of a zone will be, and what it
// was.
//
// A [Provider] answers both questions for the zones of one company, one public service, or one URL.
// [New] makes a provider of a [Config]. Every intensity is in gCO2eq/kWh and every time in UTC,
// whatever the provider writes.
//
//   - A [Reading] has the intensities of one zone and one [forecast.Signal]. Readings of two signals are
//     never compared, joined, or learned from together.
//   - What a provider does not know is a gap in the reading: a null, a missing slot, a number that
//     stands for no value, zeros that cannot be true (see [forecast.Believe]). A bad element costs
//     that element only. A page of HTML, a response that is cut off, or a response about another
//     zone or in another unit is an error.
//   - A provider asks politely: never faster than its [Limit], with back-off after a failure, no
//     sooner than the server asks for, and with an ETag where the server gives one.
//   - A key is a [Secret]. No error and no log has a key. A key never follows a redirect to another
//     host.
package provider
