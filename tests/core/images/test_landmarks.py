"""Files of landmarks as people and programs write them."""

from __future__ import annotations

import json

import pytest

from napari_exo2micro.core import Landmarks, ParameterError

POST = [[10.0, 20.0], [300.0, 40.0], [90.0, 200.0]]
PRE = [[12.0, 19.0], [301.0, 41.0], [95.5, 202.0]]


@pytest.mark.parametrize(
    "text",
    [
        "name,post_x,post_y,pre_x,pre_y\n"
        "a,10,20,12,19\nb,300,40,301,41\nc,90,200,95.5,202\n",
        "\ufeffsep=;\nX post;Y post;X pre;Y pre\n"
        "10;20;12;19\n300;40;301;41\n90;200;95,5;202\n;;;\n",
        "pre x (px)\tpre y (px)\tpost x (px)\tpost y (px)\tcomment\n"
        "12\t19\t10\t20\tgrain\n301\t41\t300\t40\t\n95.5\t202\t90\t200\t\n",
    ],
    ids=["commas", "semicolons", "tabs"],
)
def test_tables_of_many_forms(tmp_path, text):
    path = tmp_path / "marks.csv"
    path.write_text(text, encoding="utf-8")
    marks = Landmarks.of(path)
    assert marks.post.tolist() == POST
    assert marks.pre.tolist() == PRE


def feature(name, label, *points):
    kind = "Point" if len(points) == 1 else "MultiPoint"
    places = [[x + 0.5, y + 0.5] for x, y in points]
    told = {"name": name, "classification": {"name": label} if label else None}
    geometry = {"type": kind, "coordinates": places[0] if kind == "Point" else places}
    return {"type": "Feature", "geometry": geometry, "properties": told}


def geojson(path, *features):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_qupath_points_in_classes(tmp_path):
    drawn = [feature(n, "Post", p) for n, p in zip("abc", POST, strict=True)]
    drawn += [
        feature(n, "pre-stain", p)
        for n, p in zip("cab", PRE[2:] + PRE[:2], strict=True)
    ]
    marks = Landmarks.of(geojson(tmp_path / "both.geojson", *drawn))
    assert marks.names == ("a", "b", "c")
    assert marks.post.tolist() == POST
    assert marks.pre.tolist() == PRE


def test_a_file_for_each_image(tmp_path):
    one = geojson(tmp_path / "post.geojson", feature("", "", *POST))
    other = tmp_path / "pre.csv"  # as napari saves points: row, column
    rows = [f"{n},{y},{x}" for n, (x, y) in enumerate(PRE)]
    other.write_text("\n".join(["index,axis-0,axis-1", *rows]))
    marks = Landmarks.of([one, other])
    assert marks.post.tolist() == POST
    assert marks.pre.tolist() == PRE


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a,b\n1,2\n", "its first row names the columns a, b"),
        ("x,y\n1,2\n", "columns of one image only"),
        (
            "post_x,post_y,pre_x,pre_y\n1,2,3,wide\n",
            "row 2: y of pre should be a number",
        ),
        ("Post X µm,Post Y µm,pre_x,pre_y\n1,2,3,4\n", "is in micrometres; give px"),
        ("post_x,post_y,pre_x,pre_y\n1,2,3,4\n", "3 pairs of points or more, found 1"),
        ("", "it is empty"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, text, match):
    path = tmp_path / "marks.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParameterError, match=match):
        Landmarks.of(path)


def test_a_point_without_a_partner_is_told(tmp_path):
    drawn = [feature(n, "post", p) for n, p in zip("abc", POST, strict=True)]
    drawn += [feature(n, "pre", p) for n, p in zip("abd", PRE, strict=True)]
    path = geojson(tmp_path / "both.geojson", *drawn)
    with pytest.raises(ParameterError, match="landmark 'c' stands in post-stain only"):
        Landmarks.of(path)
    none = geojson(tmp_path / "none.geojson", feature("a", "", POST[0]))
    with pytest.raises(ParameterError, match="in no class 'post' or 'pre'"):
        Landmarks.of(none)
    with pytest.raises(ParameterError, match=r"missing.csv: .*No such file"):
        Landmarks.of(tmp_path / "missing.csv")
