package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// file is one file of an archive.
type file struct {
	name string // in the archive
	from string // on disk
	mode fs.FileMode
}

// writeTar writes a tar.gz that depends on nothing but names, contents, modes and the date.
func writeTar(w io.Writer, date time.Time, files []file) error {
	packed, err := gzip.NewWriterLevel(w, gzip.BestCompression) // without a name and a time in its header
	if err != nil {
		return err
	}
	archive := tar.NewWriter(packed)
	for _, f := range files {
		if err := addTar(archive, date, f); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), packed.Close())
}

func addTar(archive *tar.Writer, date time.Time, f file) error {
	content, err := os.ReadFile(f.from)
	if err != nil {
		return err
	}
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(content)), Mode: int64(f.mode), ModTime: date.UTC().Truncate(time.Second), Format: tar.FormatUSTAR,
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = archive.Write(content)
	return err
}

// writeZip writes a zip that depends on the same.
func writeZip(w io.Writer, date time.Time, files []file) error {
	archive := zip.NewWriter(w)
	for _, f := range files {
		content, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		header := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: date.UTC().Truncate(time.Second)}
		header.SetMode(f.mode)
		into, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := into.Write(content); err != nil {
			return err
		}
	}
	return archive.Close()
}
