"""Downloads of archives: success, interruption, wrong content, no network."""

import functools
import http.server
import json
import socket
import threading

import pytest

from plasticity.data import DataError, archives
from plasticity.experiments.data import prepare as prepare_module
from plasticity.experiments.data.prepare import prepare
from tests.archives import left_behind


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, of each at most `most` bytes although the header states the full length."""

    most = None

    def copyfile(self, source, outputfile):
        outputfile.write(source.read(self.most))


@pytest.fixture(autouse=True)
def _once(monkeypatch):
    """No waiting for further attempts, except where a test counts them."""
    monkeypatch.setattr(prepare_module, "RETRIES", 0)
    monkeypatch.setattr(prepare_module, "TIMEOUT", 2)


@pytest.fixture
def published(tiny, tmp_path):
    """A small Omniglot, published by a server on this machine."""
    handler = functools.partial(Handler, directory=tmp_path / "archives")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{{}}"
        all_of_them = [
            archive._replace(
                url=url.format(archive.name),
                sha256=archives.verify(tmp_path / "archives" / archive.name, archive, True),
            )
            for archive in tiny["omniglot"].archives
        ]
        yield tiny["omniglot"]._replace(archives=tuple(all_of_them))
        server.shutdown()


def test_archives_are_downloaded_from_where_they_are_published(published):
    folder, reused = prepare(published, None, accept_other=False)
    assert not reused
    assert json.loads((folder / "manifest.json").read_text())["official"] is True
    assert prepare(published, None, accept_other=False) == (folder, True)


@pytest.mark.parametrize("accept_other", [False, True])
def test_a_download_that_is_cut_short_leaves_nothing(
    published, accept_other, monkeypatch, tmp_path
):
    monkeypatch.setattr(Handler, "most", 1000)
    with pytest.raises(DataError, match=r"cannot download .*/images_\w+.zip: .*1000 bytes read"):
        prepare(published, None, accept_other)
    assert left_behind(tmp_path) == []
    monkeypatch.setattr(Handler, "most", None)
    assert prepare(published, None, accept_other)[1] is False


def test_a_failed_download_is_tried_again(published, monkeypatch):
    monkeypatch.setattr(prepare_module, "RETRIES", 1)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    calls = []

    def first_cut(self, source, outputfile):
        calls.append(self.path)
        outputfile.write(source.read(1000 if len(calls) == 1 else None))

    monkeypatch.setattr(Handler, "copyfile", first_cut)
    assert prepare(published, None, accept_other=False)[1] is False
    assert len(calls) == 3


def test_other_content_is_not_kept_unless_it_is_accepted(published, tmp_path):
    first, second = published.archives
    other = published._replace(archives=(first._replace(sha256="0" * 64), second))
    with pytest.raises(DataError, match=r"cannot download .* does not match the known hash.*0000"):
        prepare(other, None, accept_other=False)
    assert not any(path.name == first.name for path in left_behind(tmp_path))
    folder, _ = prepare(other, None, accept_other=True)
    assert json.loads((folder / "manifest.json").read_text())["official"] is False
    # What was accepted once is downloaded again where it is not accepted.
    with pytest.raises(DataError, match=r"cannot download .* does not match the known hash.*0000"):
        prepare(other, None, accept_other=False)
    assert prepare(published, None, accept_other=False)[0] == folder


def test_a_server_that_does_not_speak_http(tiny, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.zip"

        def answer():
            with server.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"220 no such thing\r\n")

        threading.Thread(target=answer, daemon=True).start()
        strange = [a._replace(url=url) for a in tiny["omniglot"].archives]
        with pytest.raises(
            DataError, match=r"cannot download http://127.0.0.1:\d+/x.zip: .*220 no"
        ):
            prepare(tiny["omniglot"]._replace(archives=tuple(strange)), None, accept_other=False)
    assert left_behind(tmp_path) == []


def test_without_network_the_message_names_the_flag_for_archives(tiny, tmp_path):
    dead = [a._replace(url="http://127.0.0.1:9/x.zip") for a in tiny["omniglot"].archives]
    with pytest.raises(
        DataError, match=r"cannot download http://127.0.0.1:9/x.zip.*--archives=DIR"
    ):
        prepare(tiny["omniglot"]._replace(archives=tuple(dead)), None, accept_other=False)
    assert left_behind(tmp_path) == []


def test_the_data_directory_is_checked_before_the_download(published, monkeypatch, tmp_path):
    monkeypatch.setattr(prepare_module, "_download", lambda *args: pytest.fail("downloaded"))
    (tmp_path / "file").touch()
    for directory in (tmp_path / "file", "/proc/nowhere"):
        monkeypatch.setenv("PLASTICITY_DATA_DIR", str(directory))
        with pytest.raises(DataError, match=rf"PLASTICITY_DATA_DIR={directory} cannot be written"):
            prepare(published, None, accept_other=False)
