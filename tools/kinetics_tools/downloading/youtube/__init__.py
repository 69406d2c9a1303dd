"""Single segments of YouTube videos, by yt-dlp."""
