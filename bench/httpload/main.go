// httpload: the HTTP service that connectors are measured against, with the standard library's server.
//
//	httpload -listen 127.0.0.1:29580 -rows 1000000 -size 200
//
// POST /single          a record; POST /batch: a record a line, the last one with or without its end
// GET  /rows?cursor=N   a page of -page rows from row N on, {"rows": [...], "next": "M"}; behind the last one "next" is null,
//
//	or with &end=1 "end", whose page has no body and takes a second: for clients that always ask on
//
// GET  /stats           {"requests", "records", "bytes"} of the POSTs so far
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:29580", "address")
	rows := flag.Int("rows", 1_000_000, "rows behind /rows")
	size := flag.Int("size", 200, "bytes of a row, about")
	page := flag.Int("page", 500, "rows of a page")
	flag.Parse()

	var requests, records, received atomic.Int64
	bodies := sync.Pool{New: func() any { return new(bytes.Buffer) }}
	take := func(count func([]byte) int64) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body := bodies.Get().(*bytes.Buffer)
			defer bodies.Put(body)
			body.Reset()
			if _, err := body.ReadFrom(r.Body); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			requests.Add(1)
			records.Add(count(body.Bytes()))
			received.Add(int64(body.Len()))
			w.WriteHeader(http.StatusNoContent)
		}
	}
	http.HandleFunc("POST /single", take(func([]byte) int64 { return 1 }))
	http.HandleFunc("POST /batch", take(func(body []byte) int64 {
		lines := int64(bytes.Count(body, []byte{'\n'}))
		if len(body) > 0 && body[len(body)-1] != '\n' {
			lines++
		}
		return lines
	}))
	http.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"requests":%d,"records":%d,"bytes":%d}`, requests.Load(), records.Load(), received.Load())
	})
	filler := strings.Repeat("x", max(*size-24, 0))
	http.HandleFunc("GET /rows", func(w http.ResponseWriter, r *http.Request) {
		cursor := r.URL.Query().Get("cursor")
		if cursor == "end" {
			time.Sleep(time.Second)
			return
		}
		first := 0
		if cursor != "" {
			n, err := strconv.Atoi(cursor)
			if err != nil || n < 0 {
				http.Error(w, "cursor is no number", http.StatusBadRequest)
				return
			}
			first = n
		}
		last := min(first+*page, *rows)
		var body bytes.Buffer
		body.WriteString(`{"rows":[`)
		for n := first; n < last; n++ {
			if n > first {
				body.WriteByte(',')
			}
			fmt.Fprintf(&body, `{"id":%d,"text":"%s"}`, n, filler)
		}
		next := "null"
		if last < *rows {
			next = strconv.Quote(strconv.Itoa(last))
		} else if r.URL.Query().Get("end") != "" {
			next = `"end"`
		}
		fmt.Fprintf(&body, `],"next":%s}`, next)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.Copy(w, &body)
	})
	log.Fatal(http.ListenAndServe(*listen, nil))
}
