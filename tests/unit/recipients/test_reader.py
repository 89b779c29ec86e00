"""Recipient files: what is found by itself, what rows arrive, and what is refused in what words."""

import hashlib
import io
import os
import threading
from pathlib import Path

import pytest

from dispatcher.errors import NotAvailableYet, Refused, UsageProblem
from dispatcher.recipients.reader import open_recipients
from dispatcher.recipients.rows import Row

QUOTE_HINT = 'a quote inside a quoted cell is written twice: "Robert ""Bob"" Rao"'


@pytest.fixture
def write(tmp_path):
    def write(content, name="people.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(path, **options):
    with open_recipients(path, **options) as file:
        return list(file)


def cells_of(path, **options):
    return [row.cells for row in read(path, **options)]


def refusal(path, **options):
    with pytest.raises(Refused) as caught:
        read(path, **options)
    name, _, message = caught.value.message.partition(": ")
    assert name == path.name
    return message, caught.value.hint


# --- Rows -------------------------------------------------------------------------------------


def test_rows_have_the_numbers_of_a_spreadsheet_and_blank_ones_are_left_out(write):
    path = write('\n\nphone,name\n1,a\n\n , \n2,"b\nb"\n,c\n3\n')
    assert read(path) == [
        Row(4, "1", ["1", "a"]),
        Row(7, "2", ["2", "b\nb"]),
        Row(8, "", ["", "c"]),
        Row(9, "3", ["3"]),
    ]


def test_a_row_with_more_filled_cells_than_headers_is_marked(write):
    rows = read(write("phone,name\n1,Rao, Asha\n2,b,, \n"))
    assert rows == [Row(2, "1", ["1", "Rao"], surplus=True), Row(3, "2", ["2", "b"])]


def test_quoted_cells_keep_delimiters_quotes_and_line_breaks(write):
    path = write('phone,name,note\r\n1,"Rao, ""A""","one\r\ntwo"\r\n2,b,"x"\r\n')
    assert cells_of(path) == [["1", 'Rao, "A"', "one\r\ntwo"], ["2", "b", "x"]]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_end_as_any_system_ends_them(write, newline):
    assert cells_of(write(newline.join(["phone,a", "1,b", "2,c"]))) == [["1", "b"], ["2", "c"]]


def test_headers_lose_marks_outer_spaces_and_line_breaks(write):
    with open_recipients(write('\ufeff Phone ,"Full\nName",\n1,a,\n')) as file:
        assert file.headers == ("Phone", "Full Name", "")
        assert (file.phone_index, file.phone_column) == (0, "Phone")


def test_a_file_of_a_header_alone_has_no_rows(write):
    assert read(write("phone,name")) == []


# --- Encoding and delimiter -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "encoding"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("cp1252", "cp1252"),
    ],
)
def test_the_encoding_is_found(write, codec, encoding):
    with open_recipients(write("phone,name\n1,Zoë Müller €\n".encode(codec))) as file:
        assert file.encoding == encoding
        assert [row.cells for row in file] == [["1", "Zoë Müller €"]]


def test_big_endian_utf_16_is_read_by_its_mark(write):
    assert cells_of(write(b"\xfe\xff" + "phone,name\n1,Zoë\n".encode("utf-16-be"))) == [
        ["1", "Zoë"]
    ]


def test_one_accent_deep_in_the_file_decides(write):
    rows = "".join(f"{n},plain\n" for n in range(150_000))
    path = write(("phone,name\n" + rows + "7,Zoë\n").encode("cp1252"))
    with open_recipients(path) as file:
        assert file.encoding == "cp1252"
        assert [row.cells for row in file][-1] == ["7", "Zoë"]


@pytest.mark.parametrize("padding", [0, 1024 * 1024 - 17, 3_000_000])
def test_utf_8_that_becomes_something_else_is_refused_with_the_place(write, padding):
    good = "phone,name\n1,Zoë\n".encode() + b"x" * padding + b"\n"
    message, hint = refusal(write(good + b"2,Zo\xeb\n"))
    assert message == f"the file begins as UTF-8, but byte {len(good) + 5} is not"
    assert hint == ("repair that place, save it as CSV UTF-8, or name the encoding with --encoding")


def test_a_character_across_two_chunks_is_read(write):
    content = b"phone,name\n1," + b"x" * (1024 * 1024 - 14) + "é\n".encode()
    assert content[1024 * 1024 - 1 : 1024 * 1024 + 1] == "é".encode()
    with open_recipients(write(content)) as file:
        assert file.encoding == "utf-8"


def test_half_a_utf_16_character_at_the_end_is_refused(write):
    message, _ = refusal(write("phone,name\n1,a\n".encode("utf-16") + b"\x00"))
    assert message == "the file is not valid UTF-16: byte 33 is not"


def test_bytes_that_are_not_text_are_refused(write):
    assert refusal(write(b"phone,name\n1,\x00\x01\x8d\n"))[0] == "the file is not text"
    assert refusal(write(bytes(range(256)) * 9))[0] == "the file is not text"


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        ("phone,name\n1,a;b\n2,c;d\n", ","),
        ("phone;name\n1;Rao, Asha\n2;Rao, B\n", ";"),
        ("phone\tname\n1\ta, b\n", "\t"),
        ("phone|name\n1|a\n", "|"),
        ("phone\n1\n", ","),
        ("phone;last, first;city\n1;Rao;x\n2;Das;y\n", ";"),
        ('sep=;\nphone;"a,b,c,d"\n1;x\n', ";"),
        ('"sep=|"\r\nphone|name\r\n1|x\r\n', "|"),
    ],
)
def test_the_delimiter_is_found(write, content, delimiter):
    with open_recipients(write(content)) as file:
        assert file.delimiter == delimiter
        assert file.headers[0] == "phone"
        assert next(iter(file)).phone == "1"


# --- The phone column -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "phone", "Phone", "PHONE NUMBER", "phone_no.", "Phone1", "Mobile", "mobile number",
        "Mobile No", "MSISDN", "Tel", "Tel.", "cell", "Cell Phone", "Contact", "contact number",
        "Number", "WhatsApp", "WhatsApp Number", "Telefon", "Telefon (privat)", "Handynummer",
        "Téléphone", "Nº de teléfono", "Móvil", "celular", "Telefone", "Telefoonnummer", "GSM",
        "телефон", "Номер телефона", "फ़ोन", "मोबाइल नंबर", "মোবাইল", "هاتف", "手机号", "電話番号",
        "Recipient", "To",
    ],
)  # fmt: skip
def test_the_phone_column_is_found_by_its_name(write, header):
    with open_recipients(write(f"name,{header},e-mail,order id\na,1,b,2\n")) as file:
        assert (file.phone_index, file.phone_column) == (1, header)


@pytest.mark.parametrize(
    ("header", "column"),
    [
        ("Number,Phone", "Phone"),
        ("Phone type,Phone", "Phone"),
        ("Contact,Mobile Number,Name", "Mobile Number"),
        ("Order Number,Home phone", "Home phone"),
        ("Account Number,Number", "Number"),
    ],
)
def test_the_best_named_of_several_columns_is_taken(write, header, column):
    with open_recipients(write(header + "\n1,2,3\n")) as file:
        assert file.phone_column == column


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("Phone,Mobile,name", "'Phone', 'Mobile'"),
        ("Phone 1,Phone 2", "'Phone 1', 'Phone 2'"),
        ("phone,name,phone", "'phone', 'phone'"),
        ("Contact,Number", "'Contact', 'Number'"),
    ],
)
def test_several_columns_that_may_be_the_one_are_refused(write, header, names):
    message, hint = refusal(write(header + "\n1,2,3\n"))
    assert message == f"several columns may hold the phone numbers: {names}"
    assert hint == "name the column of the phone numbers with --column"


def test_a_file_without_a_phone_column_is_refused(write):
    assert refusal(write("name,city,,e-mail\na,b,,c\n")) == (
        "no column has a name such as phone or mobile",
        "name the column of the phone numbers with --column; the columns are: name, city, e-mail",
    )


@pytest.mark.parametrize("first", ["9820011223,Asha", "Asha,+91 98200 11223", "a,'919820011223"])
def test_a_file_without_a_header_is_refused(write, first):
    message, hint = refusal(write(f"{first}\n9820011224,Ravi\n"))
    assert message == "the file has no header row: its first row already has a number in it"
    assert hint == "put names above the columns, such as: phone,name"


@pytest.mark.parametrize("wanted", ["Second", " second ", "SECOND"])
def test_column_names_the_phone_column(write, wanted):
    with open_recipients(write("phone,Second\n1,2\n"), column=wanted) as file:
        assert [row.phone for row in file] == ["2"]


def test_an_unknown_column_is_refused_with_the_nearest(write):
    assert refusal(write("Phone,Name\n1,a\n"), column="phnoe") == (
        "the file has no column 'phnoe'",
        "did you mean 'Phone'? the columns are: Phone, Name",
    )


def test_a_column_name_used_twice_is_refused(write):
    message, hint = refusal(write("Phone,phone\n1,2\n"), column="PHONE")
    assert (message, hint) == ("2 columns are named 'PHONE'", "rename all but one of them")
    assert [row.phone for row in read(write("Phone,phone\n1,2\n"), column="phone")] == ["2"]


# --- Mapping ----------------------------------------------------------------------------------


def test_a_mapping_adds_a_column_of_another_name(write):
    path = write("phone,Full Name,city\n1,Asha,Pune\n2\n3,c,d,extra\n")
    with open_recipients(path, mapping={"name": "full name", "town": "City"}) as file:
        assert file.headers == ("phone", "Full Name", "city", "name", "town")
        assert file.file_headers == ("phone", "Full Name", "city")
        assert [row.cells for row in file] == [
            ["1", "Asha", "Pune", "Asha", "Pune"],
            ["2", "", "", "", ""],
            ["3", "c", "d", "c", "d"],
        ]


def test_a_mapping_of_an_unknown_header_is_refused(write):
    message, hint = refusal(write("phone,Full Name\n1,a\n"), mapping={"name": "Full Nmae"})
    assert message == "the file has no column 'Full Nmae'"
    assert hint is not None
    assert hint.startswith("did you mean 'Full Name'?")


def test_a_mapping_never_hides_a_column(write):
    message, hint = refusal(write("phone,Name,Nick\n1,a,b\n"), mapping={"name": "Nick"})
    assert message == "the file has a column 'name' already"
    assert hint == "use {{Nick}} in the text, without --map"


# --- Broken rows ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "row"),
    [
        # To the end of the file; to the next quote; to a quote that happens to close a cell.
        ('1,a\n2,"Bob,Delhi\n3,c\n4,d\n', 3),
        ('1,a\n2,"Bob,Delhi\n3,"Rao, Asha"\n4,d\n', 3),
        ('1,a\n2,"Bob\n3,c\n4,"\n5,e,f\n', 3),
        ('1,a\n2,b\n3,"Bob', 4),
        ('1,a\n2,"x"y,"Bob\n3,c\n', 3),
        ('1,"' + "a\n" * 100_000 + '"\n', 2),
        ("1,a\n2," + "x" * 200_000 + "\n", 3),
    ],
)
def test_a_quote_that_swallows_rows_is_refused_with_the_row(write, broken, row):
    message, hint = refusal(write("phone,name,city\n" + broken))
    assert message == (f"row {row} has a quote that is not closed, or a cell that is far too long")
    assert hint == QUOTE_HINT


def test_quotes_inside_a_line_are_read_as_they_stand(write):
    path = write('phone,name,city\n1,5" disk,a\n2,"Bob" Rao,b\n3,"c",d\n')
    assert cells_of(path) == [["1", '5" disk', "a"], ["2", "Bob Rao", "b"], ["3", "c", "d"]]


def test_an_endless_line_is_refused_without_reading_it_whole(write):
    path = write(b"phone,name\n1,a\n" + b"2," * 2_000_000)
    with open_recipients(path) as file:
        rows = iter(file)
        next(rows)
        with pytest.raises(Refused, match="row 3 is a line of more than 1048576 characters"):
            next(rows)
        assert file.position < file.size


def test_a_file_that_changes_while_it_is_read_is_refused(write):
    path = write("phone,name\n" + "1,abc\n" * 200_000)
    with open_recipients(path) as file:
        rows = iter(file)
        next(rows)
        with path.open("r+b") as other:
            other.seek(-100, os.SEEK_END)
            other.write(b"\xff" * 50)
        with pytest.raises(Refused, match="changed while it was read"):
            list(rows)


# --- Files ------------------------------------------------------------------------------------


def test_the_digest_is_that_of_the_whole_file_and_the_position_reaches_the_size(write):
    content = b"\xef\xbb\xbfphone,name\r\n" + b"1,a\r\n" * 100_000
    with open_recipients(write(content)) as file:
        assert file.sha256 == hashlib.sha256(content).hexdigest()
        assert file.size == len(content)
        assert sum(1 for _ in file) == 100_000
        assert file.position == file.size


def test_a_stream_is_read_like_a_file():
    content = "phone;name\n1;Zoë\n".encode("cp1252")
    with open_recipients(io.BytesIO(content)) as file:
        assert [row.cells for row in file] == [["1", "Zoë"]]
        assert file.sha256 == hashlib.sha256(content).hexdigest()


def test_a_named_pipe_is_read_like_a_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"phone\n1\n",))
    writer.start()
    assert [row.phone for row in read(pipe)] == ["1"]
    writer.join(timeout=10)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n,,\n"])
def test_an_empty_file_is_refused(write, content):
    assert refusal(write(content)) == (
        "the file is empty",
        "it needs a header row and a row for each recipient",
    )


@pytest.mark.parametrize(
    ("content", "hint"), [(b'\n[{"phone": 1}]', "save it as JSON Lines"), (b"BZh91AY", "unpack it")]
)
def test_other_formats_are_not_readable_yet(write, content, hint):
    with pytest.raises(NotAvailableYet) as caught:
        open_recipients(write(content))
    assert hint in caught.value.hint


def test_a_missing_file_and_a_folder_are_wrong_usage(tmp_path):
    with pytest.raises(UsageProblem, match=r"missing\.csv does not exist"):
        open_recipients(tmp_path / "missing.csv")
    with pytest.raises(UsageProblem, match="is a folder"):
        open_recipients(tmp_path)
    with pytest.raises(UsageProblem, match="cannot be read"):
        open_recipients(tmp_path / ("x" * 300))


def test_a_refused_file_is_closed(write):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        refusal(write("name\na\n"))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
