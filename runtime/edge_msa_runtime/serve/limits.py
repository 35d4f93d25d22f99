"""How much the web application accepts, so that no client can fill the memory or keep others out."""

from __future__ import annotations

import dataclasses

MEGABYTE = 1_000_000


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of the web application.

    Attributes:
        clients: live streams at the same time, one per browser.
        uploads: media files that arrive, wait or are read at the same time. One is read at a time.
        connections: connections at the same time, those of `clients` included.
        json_bytes: body of a request with JSON. Bodies of this size together are parsed and predicted at the same time.
        json_containers: arrays and objects of such a body. An empty one takes more than 40 times its bytes in memory.
        json_total_bytes: all bodies with JSON that have arrived in part and are not answered yet.
        media_bytes: uploaded media file.
        media_seconds: length of an uploaded media file.
        busy_seconds: processor time for the sound and the pictures of an uploaded media file. Recognizing its words
            needs time in addition, about a tenth of its length.
        turn_seconds: time that an uploaded media file waits for the one before it.
        message_bytes: message of a live stream: up to a second of sound, or a picture.
        picture_pixels: width times height of a picture.
        start_seconds: time until a live stream must have started.
        idle_seconds: time after which a live stream with sound or pictures ends if no message comes.
        typing_seconds: the same for a live stream of typed words.
        messages: typed words and commands of a live stream per second.
        header_seconds: time in which the header of a request must arrive, at most.
        body_seconds: time in which a request must arrive.
        sound_seconds: sound that may wait to be processed. The browser waits to send more.
        unrecognized_seconds: sound that may wait to be recognized, 64 kB per second. Then the live stream ends.
        pictures: pictures that may wait to be processed. Older ones are dropped.
    """

    clients: int = 4
    uploads: int = 2
    connections: int = 64
    json_bytes: int = 16 * MEGABYTE
    json_containers: int = 500_000
    json_total_bytes: int = 32 * MEGABYTE
    media_bytes: int = 200 * MEGABYTE
    media_seconds: float = 600.0
    busy_seconds: float = 300.0
    turn_seconds: float = 60.0
    message_bytes: int = 2 * MEGABYTE
    picture_pixels: int = 4_000_000
    start_seconds: float = 10.0
    idle_seconds: float = 60.0
    typing_seconds: float = 1800.0
    messages: int = 50
    header_seconds: float = 20.0
    body_seconds: float = 120.0
    sound_seconds: float = 5.0
    unrecognized_seconds: float = 300.0
    pictures: int = 2
